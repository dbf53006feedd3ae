"""The report of a sweep: an HTML page, its plots, and their data as CSV."""
