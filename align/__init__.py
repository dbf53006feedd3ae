"""Everything that touches tensors: recipes, stages, adapters, inference. No Ray, no database."""
