"""The tutorial's stages, chained, a few steps each, with their peaks."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch

from align.base import Base, load_base
from align.data.splits import load_split
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.memory.machines import Dtype, Machine, gpu
from align.memory.peak import Peak as Predicted
from align.memory.peak import predict
from align.memory.shape import ModelShape, read_shape
from align.memory.workload import LoraSize, Workload, lora_of, workload
from align.methods.specification import RewardFunction
from align.precision import device, precision
from align.recipe import Recipe
from align.rewards import Judge, Rewards, reward_functions
from align.training.train import PUBLISHED, train
from benchmarks.machine import machine_facts
from benchmarks.memory.allocator import Peak
from benchmarks.memory.observed import Batches, observed
from benchmarks.memory.stand_ins import make_base, make_recipe
from benchmarks.progress import Progress

#: Enough for a step's completions; a predicted peak must not be right for a pool of any size.
ENGINE = EngineOptions(slots=16, kv_bytes=256 * 2**20, adapters=4)


@dataclass(frozen=True)
class Settings:
    """What to run. `gpu` is the card that is played, empty for the machine's own."""

    stages: tuple[str, ...]
    steps: int
    gpu: str = ""
    quick: bool = False


@dataclass(frozen=True)
class Result:
    """One stage: bytes predicted, part by part, and measured; seconds of a step.

    `fit` is what `alignery recipe fit` would say, which takes every sequence for as long as can be
    and all of it for scored; `predicted` knows the largest micro-batch that came.
    """

    stage: str
    method: str
    batches: Batches
    predicted: Predicted
    fit: Predicted
    measured: int
    seconds: float

    @property
    def error(self) -> float:
        """Predicted less measured, as a share of measured."""
        return self.predicted.tensors / self.measured - 1

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "stage": self.stage,
            "method": self.method,
            "sequences": self.batches.sequences,
            "tokens": self.batches.length,
            "scored": self.batches.scored,
            "predicted_bytes": self.predicted.tensors,
            "measured_bytes": self.measured,
            "error": round(self.error, 4),
            "parts": self.predicted.to_json(),
            "fit_bytes": self.fit.tensors,
            "step_seconds": round(self.seconds, 3),
        }


def measure(settings: Settings, folder: Path) -> tuple[list[Result], dict[str, object]]:
    """Every stage named, those that they build on before them, and facts of the machine."""
    warnings.filterwarnings("ignore", module="(peft|trl|transformers|torch).*")
    progress = Progress(["base", *settings.stages])
    recipe = make_recipe(
        make_base(folder / "base", settings.quick), folder, settings.steps, settings.quick
    )
    base, shape = load_base(recipe.base), read_shape(recipe.base)
    progress.run(f"a random model of {shape.parameters / 1e6:,.1f} million weights")
    run = _Run(recipe, base, shape, _machine(settings), folder)
    results = []
    for stage in (one for one in recipe.order() if one in settings.stages):
        results.append(run.stage(stage))
        progress.run(f"{stage}: {results[-1].measured / 2**30:.2f} GiB")
    facts = {"base": f"random, {shape.parameters} weights", "played": settings.gpu or None}
    return results, {**machine_facts(base, None), **facts}


class _Run:
    """All stages on one base, each built on the adapters of those before."""

    def __init__(
        self, recipe: Recipe, base: Base, shape: ModelShape, machine: Machine, folder: Path
    ):
        self._recipe, self._base, self._shape = recipe, base, shape
        self._machine, self._folder = machine, folder
        self._published: dict[str, Path] = {}

    def stage(self, name: str) -> Result:
        """Train it, and first those that it is built on, and compare the peaks."""
        config, last = self._recipe.stages[name].resolve(), self._recipe.steps(name)
        writes = config.method == "grpo"
        for one in self._recipe.needs(name) if writes else [config.parent]:
            if one is not None and one not in self._published:
                self.stage(one)
        engine = BankEngine(self._base, ENGINE) if writes else None
        peak, times, cuda = Peak(device()), [time.perf_counter()], device().type == "cuda"
        measured: list[int] = []

        def on_step(step: int, _: dict[str, float]) -> None:
            times.append(time.perf_counter())
            if step == last - 1 and not cuda:
                peak.start()
            if step == last:
                measured.append(peak.stop())

        with observed() as seen:
            if cuda:
                peak.start()
            done = train(
                self._base,
                config,
                load_split(self._recipe, name, "train"),
                self._folder / name,
                to=last,
                steps=last,
                seed=0,
                parent=self._published.get(config.parent or ""),
                rewards=None if engine is None else self._rewards(name, engine),
                engine=engine,
                on_step=on_step,
            )
        self._published[name] = done / PUBLISHED
        work, options = self._work(name), None if engine is None else ENGINE
        return Result(
            stage=name,
            method=config.method,
            batches=seen,
            predicted=predict(_as_seen(work, seen), self._shape, self._machine, options),
            fit=predict(work, self._shape, self._machine, options),
            measured=max(measured),
            seconds=_step_seconds(times, profiled=not cuda),
        )

    def _rewards(self, name: str, engine: BankEngine) -> list[tuple[str, float, RewardFunction]]:
        judge = self._recipe.stages[name].reward_model
        assert judge is not None  # the tutorial's GRPO has one
        engine.load(judge, self._published[judge])
        return reward_functions(Rewards(self._recipe.rewards(name), Judge(engine, judge)))

    def _work(self, name: str) -> Workload:
        config = self._recipe.stages[name].resolve()
        return workload(
            config, self._shape, self._chain(config.parent), self._chain(config.reward_model)
        )

    def _chain(self, last: str | None) -> tuple[LoraSize, ...]:
        names = [] if last is None else self._recipe.chain(last)
        return tuple(lora_of(self._recipe.stages[one].resolve(), self._shape) for one in names)


def _machine(settings: Settings) -> Machine:
    """The card that is played, or this machine."""
    if settings.gpu:
        return gpu(settings.gpu)
    name, cuda = precision().name, device().type == "cuda"
    assert name in ("float16", "bfloat16", "float32")
    memory = torch.cuda.get_device_properties(0).total_memory if cuda else 0
    return Machine("this machine", memory, cast(Dtype, name), "cuda" if cuda else "cpu")


def _as_seen(work: Workload, seen: Batches) -> Workload:
    """The micro-batches that came, in place of the largest that could have."""
    rows = max(1, seen.sequences // work.training_method.sequences)
    return replace(
        work.in_batches_of(rows, work.checkpointing),
        length=seen.length,
        scored=math.ceil(seen.scored / max(1, seen.sequences)),
    )


def _step_seconds(times: list[float], profiled: bool) -> float:
    """Median over steps: without the first, which fills caches, and one that was profiled."""
    took = [after - before for before, after in pairwise(times)]
    return median(took[1:-1] if profiled and len(took) > 2 else took[1:] or took)
