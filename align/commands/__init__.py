"""`alignery recipe …`; each module adds its commands to `recipe_app`."""

from align.commands import recipes
from align.commands.common import recipe_app

__all__ = ["recipe_app", "recipes"]
