"""The plan of a pipeline before it runs: trials, time and price."""
