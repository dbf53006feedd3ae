"""A stage: its defaults, and what a trial makes of it."""

from typing import Any

import pytest

from align.recipe import parse_recipe
from tests.align.recipe.raw import changed


def test_ties_follow_the_trial_and_defaults_fill_the_rest() -> None:
    raw = changed("stages.sft.lora", {"r": {"choice": [8, 32]}, "lora_alpha": "2 * r"})
    stage = parse_recipe(raw).stages["sft"]
    assert stage.resolve().lora.lora_alpha == 16
    assert stage.resolve({"lora.r": 32}).lora.lora_alpha == 64


def test_default_of_a_log_interval_is_its_geometric_middle() -> None:
    raw = changed("stages.sft.learning_rate", {"loguniform": [1e-4, 1e-2]})
    assert parse_recipe(raw).stages["sft"].defaults()["learning_rate"] == pytest.approx(1e-3)


def test_the_largest_rank_is_that_of_any_trial() -> None:
    def rank(value: Any) -> int:
        return parse_recipe(changed("stages.sft.lora.r", value)).stages["sft"].largest_rank()

    assert rank(24) == 24
    assert rank({"choice": [16, 64, 8]}) == 64
    assert rank({"int": [4, 48], "log": True}) == 48
    assert rank("2 * max_steps") == 20
