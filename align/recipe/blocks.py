"""The parts of a recipe that stages share: data, sweep, evaluation."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from align.space.optuna_names import PAIRED, PRUNERS, SAMPLERS, class_name
from align.space.spaces import Value, scalar
from align.suggestions import did_you_mean

#: TRL's columns that `columns` can name in a file.
MAPPABLE = (
    "prompt", "completion", "chosen", "rejected", "label", "answer", "messages", "system", "tools",
)  # fmt: skip
GENERATORS = ("arithmetic", "expressions")
REASONING_GYM = r"reasoning_gym/[a-z0-9_]+"


class Block(BaseModel):
    """A part of a recipe; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


class DataConfig(Block):
    """Where a stage's rows come from, and how many go to which split.

    There is exactly one source: `task` (a built-in generator, or `reasoning_gym/<name>` with
    `task_config`), `path` (a local file of JSON lines, JSON, CSV, Parquet or Arrow) or `dataset` (a
    hub id). The three splits share no prompt. `columns` gives the file's or dataset's names of
    TRL's columns.
    """

    task: str | None = None
    task_config: dict[str, Any] | None = None
    path: str | None = None
    dataset: str | None = None
    split: str = "train"
    # Left out of dumps without a value, so that searches of earlier versions are recognised.
    columns: dict[str, str] | None = Field(default=None, exclude_if=lambda value: value is None)
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

    @field_validator("columns")
    @classmethod
    def _mappable(cls, columns: dict[str, str] | None) -> dict[str, str] | None:
        for name in columns or ():
            if name not in MAPPABLE:
                near = did_you_mean(name, MAPPABLE, before="; ")
                raise ValueError(
                    f"names of TRL's columns with the file's own, such as "
                    f"{{prompt: question}}; allowed: {', '.join(MAPPABLE)}; got {name!r}{near}"
                )
        return columns

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if sum(source is not None for source in (self.task, self.path, self.dataset)) != 1:
            raise ValueError("name exactly one of task, path, dataset")
        if self.columns is not None and self.task is not None:
            raise ValueError("columns belongs to a path or a dataset")
        if self.task_config is not None and (self.task or "").partition("/")[0] != "reasoning_gym":
            raise ValueError("task_config belongs to a task of reasoning_gym")
        return self


def _of_a_point(value: Any) -> Any:
    if not isinstance(value, int | float | str | list):
        raise ValueError(
            f"a point has one value for each field by dotted path, {{lora.r: 8}}; got {value!r}"
        )
    return scalar(value)


class StopWhen(Block):
    """When a search ends before all its trials have run.

    `gain_below`: the expected gain of the next trial, in the objective's unit, below which no
    further trial begins.
    """

    gain_below: float = Field(allow_inf_nan=False)

    @field_validator("gain_below", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"a number in the objective's unit, such as 0.01; got {value!r}")
        if value <= 0:
            hint = "leave stop_when out for a search that runs all its trials"
            raise ValueError(f"no gain is below {value}, so this never stops a search; {hint}")
        return value


class SweepConfig(Block):
    """How a stage is searched: its trials, their pruning, and which checkpoints are kept.

    `rungs` are optimizer steps at which trials are compared on validation items by `rung_metric`
    (None: the method's, see `align.recipe.metric_schedule`) and may be pruned; the objective is
    measured at the last step, without pruning. The metric `sampled_reward` is the mean reward of
    `rung_samples` sampled answers to each of the first `rung_prompts` prompts.
    `sampler` and `pruner` are names of `optuna_names`, their options those of Optuna's classes.
    The pruner `paired` has options of its own (`sweeps.study.paired_pruning`); with a `synchronous`
    bracket its trials wait for each other at rungs (None: synchronous for `paired`).
    `startup_trials` is the number of trials drawn at random before the sampler learns (None: it
    depends on the number of trials). `points` are parameters by dotted path that are tried after
    trial 0. `warm_start` names an earlier search: a line, a run as `<line>:<run>`, or a study.
    `priors` are learning rates from earlier searches and publications, tried before the sampler's.
    `retries` is how often a trial that fails by itself is tried again. `finalists` is the number of
    best trials that are measured again, with trial 0, on unseen items. `stop_when` ends a search
    before all its trials have run (None: never).
    """

    trials: int = Field(default=4, ge=1)
    rungs: list[int] = Field(default_factory=list)
    # Left out of dumps without a value, so that searches of earlier versions are recognised.
    rung_metric: str | None = Field(default=None, exclude_if=lambda value: value is None)
    rung_prompts: int = Field(default=16, ge=2, exclude_if=lambda value: value == 16)
    rung_samples: int = Field(default=8, ge=1, exclude_if=lambda value: value == 8)
    pruner: str = "successive_halving"
    bracket: Literal["synchronous", "asynchronous"] | None = Field(
        default=None, exclude_if=lambda value: value is None
    )
    pruner_options: dict[str, Any] = Field(default_factory=dict)
    reduction_factor: int = Field(default=2, ge=2)
    sampler: str = "tpe"
    sampler_options: dict[str, Any] = Field(default_factory=dict)
    startup_trials: int | None = Field(default=None, ge=0)
    points: list[dict[str, Annotated[Value, BeforeValidator(_of_a_point)]]] = Field(
        default_factory=list
    )
    warm_start: str | None = None
    # Left out of dumps while on, so that searches of earlier versions are recognised.
    priors: Literal["auto", "none"] = Field(
        default="auto", exclude_if=lambda value: value == "auto"
    )
    retries: int = Field(default=1, ge=0)
    finalists: int = Field(default=3, ge=0)
    keep_checkpoints: Literal["none", "best", "all"] = "none"
    seed: int = 0
    # Left out of dumps without a value, so that searches of earlier versions are recognised.
    stop_when: StopWhen | None = Field(default=None, exclude_if=lambda value: value is None)

    @field_validator("rungs")
    @classmethod
    def _ascending(cls, rungs: list[int]) -> list[int]:
        if any(step < 1 for step in rungs) or rungs != sorted(set(rungs)):
            raise ValueError(f"rungs are ascending steps from 1 on; got {rungs}")
        return rungs

    @field_validator("warm_start")
    @classmethod
    def _named(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"\S+", name):
            raise ValueError(
                f"expected <recipe>/<stage>, <recipe>/<stage>:<run> or a study's name; got {name!r}"
            )
        return name

    @field_validator("sampler")
    @classmethod
    def _samples(cls, name: str) -> str:
        class_name(name, SAMPLERS)
        return name

    @field_validator("pruner")
    @classmethod
    def _prunes(cls, name: str) -> str:
        class_name(name, PRUNERS)
        return name

    @property
    def synchronous(self) -> bool:
        """Whether trials wait for each other at rungs."""
        paired = self.pruner == PAIRED
        return paired if self.bracket is None else self.bracket == "synchronous"

    @model_validator(mode="after")
    def _waits(self) -> SweepConfig:
        if self.bracket == "synchronous" and self.pruner != PAIRED:
            raise ValueError(
                f"bracket: only the pruner {PAIRED} decides on all trials at once; take it, or "
                f"bracket: asynchronous; got pruner {self.pruner}"
            )
        return self

    @model_validator(mode="after")
    def _enough(self) -> SweepConfig:
        if len(self.points) >= self.trials:
            raise ValueError(
                f"{len(self.points)} points and the defaults need trials: {len(self.points) + 1} "
                f"or more; got {self.trials}"
            )
        return self


class EvaluationConfig(Block):
    """How held-out answers are generated: greedily, in the same way for every system."""

    max_new_tokens: int = Field(default=64, ge=1)
