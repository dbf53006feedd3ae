"""The bytes of a data file to rows, one module for each kind of file."""
