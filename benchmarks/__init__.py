"""Measurements: how fast the engine is beside what else there is. Nothing imports this package."""
