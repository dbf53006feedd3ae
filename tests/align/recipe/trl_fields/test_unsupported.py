"""Fields of TRL that a recipe does not set, each with the reason."""

from pathlib import Path
from typing import Any

import pytest

from align.methods import METHODS, MethodName
from align.recipe.trl_fields.installed import (
    trl_fields,
)
from align.recipe.trl_fields.unsupported import decided, patterns
from tests.align.recipe.trl_fields.stages import config, refusal


def test_what_is_refused_exists() -> None:
    """A field that TRL drops is one that nobody needs to be told about."""
    names = {name for method in METHODS for name in trl_fields(method)}
    for found in patterns().values():
        for pattern in found:
            stem = pattern.removesuffix("*")
            assert pattern in names or any(pattern != stem and n.startswith(stem) for n in names)


def test_what_every_job_sets_itself_is_not_the_recipes(tmp_path: Path) -> None:
    from align.methods.trainers.trainer_inputs import TrainerInputs

    settled = config("sft").resolve()
    arguments = TrainerInputs(None, None, settled, 3, [], tmp_path, 0).arguments()  # type: ignore[arg-type]
    own = {name for name in arguments if name not in settled.trl()}
    assert {name for name in own if not decided("sft", name)} <= {"gradient_checkpointing_kwargs"}


DECIDED: list[tuple[MethodName, str, Any, str]] = [
    ("sft", "output_dir", "out", "folder"),
    ("sft", "bf16", True, "precision"),
    ("sft", "fp16", True, "precision"),
    ("sft", "use_cpu", True, "precision"),
    ("sft", "seed", 3, "the recipe's field 'seed'"),
    ("sft", "save_total_limit", 1, "save_steps"),
    ("sft", "load_best_model_at_end", True, "sweep.rungs"),
    ("sft", "eval_steps", 5, "published adapter"),
    ("sft", "report_to", "wandb", "logged"),
    ("sft", "deepspeed", "z3.json", "one device"),
    ("sft", "fsdp", "full_shard", "one device"),
    ("sft", "push_to_hub", True, "registered"),
    ("grpo", "use_vllm", True, "engine"),
    ("grpo", "vllm_mode", "server", "engine"),
    ("grpo", "repetition_penalty", 1.1, "temperature, top_p and top_k"),
    ("grpo", "reward_weights", [1.0], "'rewards'"),
    ("dpo", "precompute_ref_log_probs", True, "computed once"),
    ("dpo", "sync_ref_model", True, "parent"),
    ("sft", "model_init_kwargs", {}, "'base'"),
    ("sft", "remove_unused_columns", False, "rows are prepared"),
    ("sft", "auto_find_batch_size", True, "halves per_device_train_batch_size"),
    ("sft", "chat_template_path", "x", "serving renders"),
]


@pytest.mark.parametrize(("method", "name", "value", "reason"), DECIDED)
def test_what_alignery_decides_is_refused_with_the_reason(
    method: MethodName, name: str, value: Any, reason: str
) -> None:
    told = refusal(method, **{name: value})
    assert f"stages.one.{name}: a recipe does not set this: " in told
    assert reason in told
