"""What a pipeline will take: trials, time and price."""
