"""The workers: Ray Tune over the studies, and what a worker runs."""
