"""Rows of a stage: their sources, validation, splits, lengths and tokenised form."""
