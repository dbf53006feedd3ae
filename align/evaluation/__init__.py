"""What adapters are worth on held-out items, beside parent and base."""
