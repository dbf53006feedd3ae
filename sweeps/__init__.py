"""Durable searches over the stages of a recipe: Ray Tune places trials, Optuna stores them."""
