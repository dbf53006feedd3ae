"""A stage's fields as the arguments of TRL's config."""

from pathlib import Path

import pytest

from align.methods import METHODS, MethodName
from tests.align.recipe.trl_fields.stages import config, config_class


@pytest.mark.parametrize("method", METHODS)
def test_a_stages_arguments_make_trls_config(method: MethodName, tmp_path: Path) -> None:
    given = config(method, warmup_steps=0.1, adam_beta1="8e-1").resolve().trl()
    made = config_class(method)(**given, output_dir=str(tmp_path), bf16=False)
    assert (made.warmup_steps, made.adam_beta1, made.learning_rate) == (0.1, 0.8, 1e-3)
    own = {"method", "parent", "lora", "data", "rewards", "objective", "sweep", "save_steps"}
    assert not own & set(given)
    assert ("max_length" in given) == (not METHODS[method].online)
    assert ("num_generations" in given) == METHODS[method].online
    assert ("max_completion_length" in given) == METHODS[method].online


def test_fields_are_found_by_path_among_the_stages_loras_and_trls() -> None:
    made = config(
        "sft", learning_rate={"loguniform": [1e-5, 1e-3]}, lora={"r": 4}, adam_beta1=0.8,
        weight_decay="lora.r / 100",
    )  # fmt: skip
    assert (made.value("lora.r"), made.value("adam_beta1"), made.value("max_steps")) == (4, 0.8, 12)
    assert made.value("adam_beta2") == 0.999  # TRL's default
    assert list(made.space()) == ["learning_rate"]
    assert made.searched("max_steps", "weight_decay") and not made.searched("lora.r", "max_steps")
    assert (made.fixed("learning_rate"), made.fixed("weight_decay")) == (None, None)
    assert (made.fixed("lora.r"), made.fixed("adam_beta1")) == (4, 0.8)


def test_sequences_of_a_step_and_which_objective_is_better() -> None:
    made = config("sft", per_device_train_batch_size=4, gradient_accumulation_steps=3)
    assert made.completions_per_step == 12
    assert config("sft", objective="nll").minimised
    assert not config("sft", objective="accuracy").minimised
