"""Metrics of each process, and their aggregation into a Prometheus page."""
