"""A recipe: the whole experiment as one typed object. Imports neither torch nor TRL."""

from align.recipe.blocks import DataConfig, EvaluationConfig, LoraConfig, SweepConfig
from align.recipe.load import builtin_recipes, load_recipe, parse_recipe
from align.recipe.model import Recipe, StageConfig
from align.recipe.space import Space

__all__ = [
    "DataConfig",
    "EvaluationConfig",
    "LoraConfig",
    "Recipe",
    "Space",
    "StageConfig",
    "SweepConfig",
    "builtin_recipes",
    "load_recipe",
    "parse_recipe",
]
