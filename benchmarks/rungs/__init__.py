"""`alignery bench rungs`: recorded learning curves, replayed as searches with other pruners."""
