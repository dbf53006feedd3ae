"""Search spaces, expressions and constraints: what a field of a recipe may hold."""

# Importing a kind registers it; the order is that in which error messages list them.
from align.space.intervals import Interval, IntRange, LogUniform, Uniform  # isort: skip
from align.space.choice import Choice  # isort: skip

__all__ = ["Choice", "IntRange", "Interval", "LogUniform", "Uniform"]
