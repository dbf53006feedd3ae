"""Evaluation of adapters on held-out items, compared with parent and base."""
