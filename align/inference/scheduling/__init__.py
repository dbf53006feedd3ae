"""The engine's decisions for each step. Imports no torch."""
