"""A search from start to best adapter, beside the loops that people write with Ray Tune."""
