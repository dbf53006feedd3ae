"""The parts of a recipe that stages share: data, sweep, evaluation."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

GENERATORS = ("arithmetic", "expressions")
REASONING_GYM = r"reasoning_gym/[a-z0-9_]+"


class Block(BaseModel):
    """A part of a recipe: a field that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


class DataConfig(Block):
    """Where a stage's rows come from, and how many go to which split.

    Exactly one source: `task` (a built-in generator, or `reasoning_gym/<name>` with
    `task_config`), `path` (a local JSONL, JSON, CSV or Parquet file) or `dataset` (a hub id). The
    three splits share no prompt.
    """

    task: str | None = None
    task_config: dict[str, Any] | None = None
    path: str | None = None
    dataset: str | None = None
    split: str = "train"
    train: int = Field(default=512, ge=1)
    validation: int = Field(default=64, ge=1)
    test: int = Field(default=200, ge=1)
    seed: int = 0

    @field_validator("task")
    @classmethod
    def _known(cls, task: str | None) -> str | None:
        if task is None or task in GENERATORS or re.fullmatch(REASONING_GYM, task):
            return task
        raise ValueError(f"allowed: {', '.join(GENERATORS)}, reasoning_gym/<name>; got {task!r}")

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if sum(source is not None for source in (self.task, self.path, self.dataset)) != 1:
            raise ValueError("name exactly one of task, path, dataset")
        if self.task_config is not None and (self.task or "").partition("/")[0] != "reasoning_gym":
            raise ValueError("task_config belongs to a task of reasoning_gym")
        return self


class SweepConfig(Block):
    """How many trials a stage gets, and where poor ones stop.

    `rungs` are optimizer steps at which the objective is measured on validation items and a
    trial may be pruned; the last step is always measured and never pruned at.
    """

    trials: int = Field(default=4, ge=1)
    rungs: list[int] = Field(default_factory=list)
    pruner: Literal["successive_halving", "median", "none"] = "successive_halving"
    reduction_factor: int = Field(default=2, ge=2)
    sampler: Literal["tpe", "random"] = "tpe"
    seed: int = 0

    @field_validator("rungs")
    @classmethod
    def _ascending(cls, rungs: list[int]) -> list[int]:
        if any(step < 1 for step in rungs) or rungs != sorted(set(rungs)):
            raise ValueError(f"rungs are ascending steps from 1 on; got {rungs}")
        return rungs


class EvaluationConfig(Block):
    """How held-out answers are produced: greedily, by every system alike."""

    max_new_tokens: int = Field(default=64, ge=1)
