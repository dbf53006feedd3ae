"""TRL's configuration fields: read from the installed version, checked or refused."""
