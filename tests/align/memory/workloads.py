"""Stages, and work of a size that can be counted by hand."""

from dataclasses import replace
from typing import Any

from align.memory.machines import GPUS
from align.memory.shape import ModelShape
from align.memory.workload import LoraSize, Workload
from align.recipe import StageConfig, parse_recipe
from align.sources import TINY

T4 = GPUS["T4"]
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]


def small() -> ModelShape:
    """One layer: 2 heads of 4, 1 of them for keys; 8 wide, 16 in the MLP, 32 tokens."""
    return ModelShape(8, 16, 1, 2, 1, 4, 32, 64, True, False)


def work(**changes: Any) -> Workload:
    """One SFT row of ten tokens, four of them scored, rank 2 on the queries, no dropout."""
    plain = Workload(
        method="sft",
        rows=1,
        steps=4,
        length=10,
        scored=4,
        lora=LoraSize(2, frozenset({"q_proj"})),
        dropout=False,
        checkpointing=False,
        padded=False,
        whole=4,
    )
    return replace(plain, **changes)


def stage(**fields: Any) -> StageConfig:
    plain = {"method": "sft", "learning_rate": 1e-4, "max_steps": 4, "objective": "nll"}
    return StageConfig.model_validate({**plain, **fields}).resolve()


def recipe(**stages: Any) -> Any:
    data = {"task": "arithmetic", "train": 64, "validation": 8, "test": 8}
    return parse_recipe({"name": "r", "base": TINY, "data": data, "stages": stages})
