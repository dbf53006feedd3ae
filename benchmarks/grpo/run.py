"""Training runs whose generation is timed inside the step."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from trl import GRPOTrainer

from align.atomic_write import write_atomically
from align.base import Base, load_base
from align.compat.attributes import replaced
from align.data.splits import load_split
from align.evaluation.evaluate import shared_engine
from align.inference import Engine
from align.recipe import Recipe, load_recipe
from align.rewards import Rewards, reward_functions
from align.training.train import PUBLISHED, train
from benchmarks.folder import claim
from benchmarks.machine import machine_facts
from benchmarks.progress import Progress

Writer = Literal["engine", "trl"]
COMPLETIONS, GROUP = 16, 8


@dataclass(frozen=True)
class Settings:
    """What to run: `seeds` runs of `steps` steps by each writer."""

    base: str
    seeds: int
    steps: int
    tokens: int
    parent_steps: int


@dataclass
class Run:
    """One training run; lists hold one entry for each step.

    `rewards` is the mean over the step's completions, `lengths` their mean tokens, seconds are
    wall time: of the whole step, and of its generation (templating and, on the engine, handing
    over the weights included).
    """

    writer: Writer
    seed: int
    rewards: list[float] = field(default_factory=list)
    lengths: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    generation_seconds: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def measure(settings: Settings, folder: Path) -> tuple[list[Run], dict[str, object]]:
    """All runs, those that `folder` holds already not repeated, and facts of the machine.

    BenchmarkError if the folder holds runs with other settings.
    """
    _hush()
    claim(folder, asdict(settings), "runs")
    recipe = load_recipe("arithmetic").model_copy(update={"base": settings.base})
    base = load_base(settings.base)
    plan = [pair for seed in range(settings.seeds) for pair in _both(seed)]
    left = [pair for pair in plan if not _file(folder, *pair).exists()]
    progress = Progress(["parent", *(writer for writer, _ in left)])
    parent = _parent(settings, recipe, base, folder)
    progress.run(f"the parent: {settings.parent_steps} steps of SFT")
    engine = shared_engine(settings.base)
    for writer, seed in left:
        run = _train(settings, recipe, base, parent, engine, Run(writer, seed))
        write_atomically(_file(folder, writer, seed), json.dumps(run.to_json()))
        mean = sum(run.rewards) / len(run.rewards)
        progress.run(f"{writer}, seed {seed}: mean reward {mean:.3f}")
    runs = [Run(**json.loads(_file(folder, *pair).read_text(encoding="utf-8"))) for pair in plan]
    return runs, machine_facts(base, None)


def _both(seed: int) -> list[tuple[Writer, int]]:
    """Both writers by turns, so that a drift of the machine does not fall on one."""
    pair: list[tuple[Writer, int]] = [("trl", seed), ("engine", seed)]
    return pair if seed % 2 == 0 else pair[::-1]


def _file(folder: Path, writer: Writer, seed: int) -> Path:
    return folder / f"{writer}-{seed}.json"


def _parent(settings: Settings, recipe: Recipe, base: Base, folder: Path) -> Path:
    stage, steps = recipe.stages["sft"].resolve(), settings.parent_steps
    rows = load_split(recipe, "sft", "train")
    with _without_logs():
        done = train(base, stage, rows, folder / "parent", to=steps, steps=steps, seed=0)
    return done / PUBLISHED


def _train(
    settings: Settings,
    recipe: Recipe,
    base: Base,
    parent: Path,
    engine: Engine,
    run: Run,
) -> Run:
    stage = recipe.stages["grpo"].resolve()
    stage = stage.model_copy(
        update={
            "per_device_train_batch_size": COMPLETIONS,
            "num_generations": GROUP,
            "max_completion_length": settings.tokens,
        }
    )

    def keep(step: int, logs: dict[str, float]) -> None:
        run.rewards.append(logs["reward"])
        run.lengths.append(logs["completions/mean_length"])
        run.step_seconds.append(logs["step_time"])

    with (
        TemporaryDirectory() as work,
        _without_logs(),
        _timed_generation(run.generation_seconds),
    ):
        train(
            base,
            stage,
            load_split(recipe, "grpo", "train"),
            Path(work),
            to=settings.steps,
            steps=settings.steps,
            seed=run.seed,
            parent=parent,
            rewards=reward_functions(Rewards(recipe.rewards("grpo"))),
            engine=engine if run.writer == "engine" else None,
            on_step=keep,
        )
    return run


@contextmanager
def _timed_generation(seconds: list[float]) -> Iterator[None]:
    """Appends what each rollout took, whoever writes it, without anything else of the step."""
    inner = GRPOTrainer._generate

    def timed(trainer: Any, prompts: list[Any]) -> Any:
        start = time.perf_counter()
        result = inner(trainer, prompts)
        seconds.append(time.perf_counter() - start)
        return result

    with replaced(GRPOTrainer, "_generate", timed):
        yield


@contextmanager
def _without_logs() -> Iterator[None]:
    """Trainers print every step's figures on stdout, which is for the result alone."""
    with StringIO() as nowhere, redirect_stdout(nowhere):
        yield


def _hush() -> None:
    """Warnings about how the libraries are used here are no news to a reader."""
    warnings.filterwarnings("ignore", module="(peft|trl|transformers|torch).*")
    for name in ("transformers", "trl", "peft", "accelerate", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils.logging import disable_progress_bar as disable_transformers_bar

    disable_progress_bar()
    disable_transformers_bar()
