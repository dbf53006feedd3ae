"""`alignery recipe …`; each module adds its commands to `recipe_app`."""

from align.commands import fit, recipes, try_rewards
from align.commands.common import recipe_app

__all__ = ["fit", "recipe_app", "recipes", "try_rewards"]
