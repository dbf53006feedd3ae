"""A recipe as it is shown loads again."""

import pytest
import yaml

from align.recipe import builtin_recipes, load_recipe, parse_recipe
from align.recipe.show import plain, to_yaml


@pytest.mark.parametrize("name", builtin_recipes())
def test_what_show_prints_loads_as_the_same_recipe(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(yaml.safe_load(to_yaml(recipe))) == recipe
    assert parse_recipe(plain(recipe)) == recipe
