"""Tests and their helpers; each is imported by its full name, as of any package."""
