"""A sweep's Optuna study: what is suggested, measured, pruned and ended."""
