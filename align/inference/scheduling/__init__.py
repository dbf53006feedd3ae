"""What the engine decides for each step. Imports no torch."""
