"""Memory estimates for the trials of a stage: arithmetic over sizes. Imports no torch."""
