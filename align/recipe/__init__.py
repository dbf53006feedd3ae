"""A recipe: the whole experiment as a typed object. Imports neither torch nor TRL."""

from align.recipe.blocks import DataConfig, EvaluationConfig, SweepConfig
from align.recipe.load import builtin_recipes, load_recipe, parse_recipe
from align.recipe.lora import LoraConfig
from align.recipe.model import Recipe
from align.recipe.stage import StageConfig
from align.space.spaces import Space

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
