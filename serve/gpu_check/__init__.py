"""The check of serving in `alignery gpu check`."""
