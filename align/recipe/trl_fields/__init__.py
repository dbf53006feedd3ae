"""TRL's own configuration fields: read from the installed version, checked, or refused."""
