"""Every contender in a process of its own, one after the other, and their best on unseen items."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from align.atomic_write import write_atomically
from benchmarks.errors import BenchmarkError
from benchmarks.folder import claim
from benchmarks.progress import Progress
from benchmarks.sweep.outcome import Outcome, read_outcome
from benchmarks.sweep.task import recipe_of, task_of

Contender = Literal["ours", "plain", "asha"]
CONTENDERS: tuple[Contender, ...] = get_args(Contender)


@dataclass(frozen=True)
class Settings:
    """What to run. `fixed`: all get the same points instead of their own samplers'."""

    seeds: int
    trials: int
    steps: int
    concurrent: int
    fixed: bool


@dataclass(frozen=True)
class Run:
    """One contender's search with one seed, and which unseen items its best answers rightly."""

    contender: Contender
    seed: int
    outcome: Outcome
    correct: list[float]


def measure(settings: Settings, folder: Path) -> list[Run]:
    """All searches, those that `folder` holds already not repeated.

    BenchmarkError if the folder holds searches with other options, or one fails.
    """
    claim(folder, asdict(settings), "searches")
    order = [(seed, one) for seed in range(settings.seeds) for one in _turns(seed)]
    left = [pair for pair in order if not _file(folder, *pair).exists()]
    progress = Progress([*(one for _, one in left), *(["unseen items"] if left else [])])
    for seed, contender in left:
        outcome = _search(settings, folder, seed, contender)
        progress.run(
            f"{contender}, seed {seed}: {outcome.makespan:.0f} s, best {outcome.best.score:.3f}"
        )
    runs = [_judged(settings, folder, seed, one) for seed, one in order]
    if left:
        progress.run("the best of each on unseen items")
    return runs


def _turns(seed: int) -> Sequence[Contender]:
    """Another order for each seed, so that a drift of the machine does not fall on one."""
    first = seed % len(CONTENDERS)
    return (*CONTENDERS[first:], *CONTENDERS[:first])


def _file(folder: Path, seed: int, contender: Contender) -> Path:
    return folder / f"{contender}-{seed}.json"


def _search(settings: Settings, folder: Path, seed: int, contender: Contender) -> Outcome:
    rows = folder / f"rows-{seed}"
    rows.mkdir(exist_ok=True)
    recipe = recipe_of(seed, settings.trials, settings.steps)
    task_file, out = rows / "task.json", _file(folder, seed, contender)
    task_of(recipe, rows, settings.concurrent, settings.fixed).write(task_file)
    fresh = out.with_suffix(".fresh")
    ours = contender == "ours"
    module = f"benchmarks.sweep.{'ours' if ours else 'peer'}"
    arguments = [str(task_file), str(fresh), *([] if ours else [contender])]
    log = out.with_suffix(".log")
    with log.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, "ALIGNERY_HOME": str(_home(folder, seed, contender))},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    if done.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise BenchmarkError(f"{contender}, seed {seed}, failed; see {log}: {lines[-1:]}")
    fresh.rename(out)
    return read_outcome(out)


def _home(folder: Path, seed: int, contender: Contender) -> Path:
    """An empty home, but for what an installation has after its first minute.

    That is the unpacked base, which the peers use too; compiled kernels are shared over homes.
    """
    from cluster.settings import Settings as Installation

    home = folder / f"home-{contender}-{seed}"
    home.mkdir(exist_ok=True)
    models = Installation().home / "models"
    models.mkdir(parents=True, exist_ok=True)
    if not (home / "models").exists():
        (home / "models").symlink_to(models)
    return home


def _judged(settings: Settings, folder: Path, seed: int, contender: Contender) -> Run:
    """The contender's best on the test split, by the one judge for all."""
    outcome, kept = read_outcome(_file(folder, seed, contender)), folder / "unseen"
    file = kept / f"{contender}-{seed}.json"
    if not file.exists():
        from align.evaluation.evaluate import evaluate_adapter

        recipe = recipe_of(seed, settings.trials, settings.steps)
        adapter = Path(str(outcome.best.folder))
        found = evaluate_adapter(recipe, adapter, system=contender, stage="sft", split="test")
        kept.mkdir(exist_ok=True)
        write_atomically(file, json.dumps(found.correct))
    return Run(contender, seed, outcome, json.loads(file.read_text(encoding="utf-8")))
