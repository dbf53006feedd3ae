"""Errors of a recipe's raw data."""

import pytest
from pydantic import ValidationError

from align.recipe import LoraConfig
from align.recipe.validation_errors import again, raise_if, unknown_at, wrong_at
from tests.align.recipe.trl_fields.stages import refusal


def test_everything_that_is_wrong_is_told_at_once() -> None:
    told = refusal("sft", learning_rate="fast", adam_beta1=2, learning_rat=3)
    assert "stages.one.learning_rate: expected a number above 0" in told
    assert "stages.one.adam_beta1: " in told
    assert "unknown field 'stages.one.learning_rat'" in told


def test_errors_are_raised_together_at_their_places() -> None:
    errors = [
        wrong_at(("lora", "r"), "too small", 0),
        unknown_at(("stages", "sft"), "; did you mean 'dpo'?"),
    ]
    with pytest.raises(ValidationError) as caught:
        raise_if("Recipe", errors)
    assert [(one["loc"], one["type"], one["msg"]) for one in caught.value.errors()] == [
        (("lora", "r"), "value_error", "Value error, too small"),
        (("stages", "sft"), "unknown_field", "; did you mean 'dpo'?"),
    ]
    raise_if("Recipe", [])


def test_an_error_can_be_raised_again_with_others() -> None:
    with pytest.raises(ValidationError) as first:
        LoraConfig.model_validate({"r": "x", "lora_dropout": 2})
    with pytest.raises(ValidationError) as second:
        raise_if("LoraConfig", [*again(first.value), wrong_at(("alpha",), "no")])
    said = [(one["loc"], one["msg"]) for one in first.value.errors()]
    assert len(said) == 2
    assert [(one["loc"], one["msg"]) for one in second.value.errors()] == [
        *said, (("alpha",), "Value error, no"),
    ]  # fmt: skip
