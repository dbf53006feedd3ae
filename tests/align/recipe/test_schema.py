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
