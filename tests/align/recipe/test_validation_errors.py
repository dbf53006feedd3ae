"""Errors of a recipe's raw data."""

from tests.align.recipe.trl_fields.stages import refusal


def test_everything_that_is_wrong_is_told_at_once() -> None:
    told = refusal("sft", learning_rate="fast", adam_beta1=2, learning_rat=3)
    assert "stages.one.learning_rate: expected a number above 0" in told
    assert "stages.one.adam_beta1: " in told
    assert "unknown field 'stages.one.learning_rat'" in told
