"""A recipe: the whole experiment as one typed object. Imports neither torch nor TRL."""

from align.recipe.load import builtin_recipes, load_recipe, parse_recipe
from align.recipe.model import (
    DataConfig,
    EvaluationConfig,
    LoraConfig,
    Recipe,
    StageConfig,
    SweepConfig,
)
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
