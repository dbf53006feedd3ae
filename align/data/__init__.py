"""Rows of a stage: where they come from, how they are checked, split, measured and kept."""
