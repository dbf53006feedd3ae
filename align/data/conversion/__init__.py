"""Pure functions that turn foreign forms of rows into TRL's, a module for each form."""
