"""Peak memory of the tutorial's stages, predicted and measured, on stand-ins of its exact shape."""
