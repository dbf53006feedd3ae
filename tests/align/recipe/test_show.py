"""A recipe as plain data and YAML that load again, and as text."""

import pytest
import yaml

from align.recipe import builtin_recipes, load_recipe, parse_recipe
from align.recipe.show import columns, in_words, plain, promises, space_table, to_yaml
from align.space.spaces import Expression, Space
from tests.align.recipe.raw import changed


@pytest.mark.parametrize("name", builtin_recipes())
def test_what_show_prints_loads_as_the_same_recipe(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(yaml.safe_load(to_yaml(recipe))) == recipe
    assert parse_recipe(plain(recipe)) == recipe


def test_a_space_in_words_has_its_conditions() -> None:
    when = {"optim": "sgd", "r": [8, 16]}
    space = Space.model_validate({"loguniform": [1e-5, 1e-3], "when": when})
    assert in_words(space) == "loguniform 1e-05 to 0.001 where optim is sgd and r is 8 or 16"
    assert in_words(Space.model_validate({"choice": [8, "a"]})) == "choice 8, a"
    assert in_words(Expression(tie="2 * r")) == "= 2 * r"


def test_searched_fields_are_listed_with_their_first_values() -> None:
    raw = changed("stages.sft.lora", {"r": {"choice": [8, 32]}, "lora_alpha": "2 * r"})
    assert space_table(parse_recipe(raw)) == [
        ("sft", "lora.r", "choice 8, 32", "8"),
        ("sft", "lora.lora_alpha", "= 2 * r", "16"),
    ]


def test_constraints_and_points_are_promised() -> None:
    raw = changed("stages.sft.learning_rate", {"loguniform": [1e-5, 1e-3]})
    raw["stages"]["sft"] |= {
        "constraints": ["length <= 200"],
        "sweep": {"trials": 4, "points": [{"learning_rate": 1e-5}]},
    }
    assert promises(parse_recipe(raw)) == [
        "sft keeps length <= 200",
        "sft tries as trial 1: learning_rate 1e-05",
    ]


def test_cells_are_aligned_by_column() -> None:
    assert columns([("a", "bcd", "e"), ("longer", "b", "")]) == ["a       bcd  e", "longer  b"]
    assert columns([]) == []
