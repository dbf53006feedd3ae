"""How near published learning rates come to the best of a model that they were not taken from."""
