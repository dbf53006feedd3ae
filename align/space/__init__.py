"""Search spaces, expressions and constraints: what a field of a recipe may hold."""
