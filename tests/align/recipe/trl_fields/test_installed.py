"""The fields of TRL's configs, read from the installed files without importing them."""

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from align.errors import RecipeError, TrainingError
from align.methods import METHODS, MethodName
from align.recipe.schema import Scheduler
from align.recipe.trl_fields.installed import (
    enum_values,
    methods_with,
    trl_fields,
    trl_refusals,
)
from tests.align.recipe.trl_fields.stages import config_class


@pytest.mark.parametrize("method", METHODS)
def test_fields_are_read_as_trl_has_them(method: MethodName) -> None:
    """Names and defaults, so that an update of TRL cannot drift away from what is read."""
    real = {one.name: one for one in dataclasses.fields(config_class(method))}
    read = trl_fields(method)
    assert set(read) == set(real)
    for name, field in real.items():
        if (
            field.default is not dataclasses.MISSING and name != "optim"
        ):  # picked by torch's version
            assert read[name].default == field.default, name
    assert read["learning_rate"].default == real["learning_rate"].default
    assert set(read["optim"].type.__args__) >= {"adamw_torch", "adafactor"}


def test_the_values_that_trainers_alone_name_are_theirs() -> None:
    listed = [(name, *item) for name, method in METHODS.items() for item in method.values.items()]
    assert listed
    for method, field, values in listed:
        file = Path(str(import_module("trl").__file__)).parent / METHODS[method].config_file
        trainer = file.with_name(file.name.replace("_config", "_trainer"))
        text = trainer.read_text() + file.read_text()
        missing = [one for one in values if f'"{one}"' not in text and f"'{one}'" not in text]
        assert not missing, (method, field)
        assert trl_fields(method)[field].default in (*values, list(values[:1]))
    assert get_args(Scheduler) == enum_values("SchedulerType")


def test_methods_are_named_in_their_order() -> None:
    assert methods_with("beta") == ["dpo", "kto", "orpo", "grpo", "rloo"]


def test_what_trl_refuses_comes_out_as_the_recipes_error() -> None:
    from trl import DPOConfig

    with pytest.raises(RecipeError, match=r"this dpo stage: .*loss_weights"), trl_refusals("dpo"):
        DPOConfig(output_dir="x", bf16=False, loss_weights=[1.0, 2.0])
    with pytest.raises(TrainingError, match="NaN"), trl_refusals("dpo"):
        raise TrainingError("NaN")
