"""A sweep's Optuna study: suggests, records, prunes and ends trials."""
