"""Stages, rows and runs that the tests of training share: tiny, and with dropout."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from align.base import Base
from align.data.splits import load_split
from align.data.user_rows import Row
from align.methods import METHODS
from align.recipe import Recipe, StageConfig, load_recipe
from align.training.train import train

#: The stage of the smoke recipe whose fields a method without a stage of its own takes.
_LIKE = {"kto": "dpo", "orpo": "dpo", "rloo": "grpo"}
SMOKE: Recipe = load_recipe("arithmetic-smoke")


def stage_of(method: str, dropout: float = 0.1, **fields: Any) -> StageConfig:
    """A resolved stage of four rows a step whose dropout is on."""
    raw = SMOKE.stages[_LIKE.get(method, method)].resolve().model_dump()
    raw |= {"method": method, "parent": None, "reward_model": None, "constraints": []}
    raw["sweep"] |= {"rungs": []}
    raw["lora"] |= {"r": 4, "lora_alpha": 8, "lora_dropout": dropout}
    if method in ("reward", "dpo", "kto", "orpo"):
        raw["disable_dropout"] = False
    if METHODS[method].online:
        raw["rewards"] = {"correctness": 1.0}
    return StageConfig.model_validate({**raw, **fields})


def rows_of(method: str, count: int = 12) -> list[Row]:
    """So few that a run of eight steps sees them more than twice."""
    if method != "kto":
        return load_split(SMOKE, _LIKE.get(method, method), "train")[:count]
    pairs = load_split(SMOKE, "dpo", "train")[: count // 2]
    return [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in pairs
        for side in ("chosen", "rejected")
    ]


def shortness(completions: list[Any], **_: Any) -> list[float]:
    return [-float(len(turns[0]["content"])) for turns in completions]


def run(
    base: Base, method: str, folder: Path, to: int = 8, steps: int = 8, **given: Any
) -> tuple[dict[int, float], Path]:
    """The loss of each step, as told last, and the checkpoint."""
    losses: dict[int, float] = {}
    stage = given.pop("stage", None) or stage_of(method)

    def keep(step: int, logs: dict[str, float]) -> None:
        losses[step] = logs["loss"]

    settings = {"seed": 0, "on_step": keep, "rewards": [("shortness", 1.0, shortness)], **given}
    rows = settings.pop("rows", None) or rows_of(method)
    checkpoint = train(base, stage, rows, folder, to=to, steps=steps, **settings)
    return losses, checkpoint


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "published" / "adapter_model.safetensors")


def same(one: Path, two: Path) -> bool:
    """Whether two checkpoints publish the same bits."""
    first, second = tensors(one), tensors(two)
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )
