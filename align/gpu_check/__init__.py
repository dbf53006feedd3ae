"""The checks of `alignery gpu check`: a module for each, and what runs and records them."""
