"""The report of a sweep: one HTML page, its plots, and what they show as CSV."""
