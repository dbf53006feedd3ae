"""Metrics of each process, and their aggregation into one Prometheus page."""
