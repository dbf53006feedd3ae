"""The measurement: one sweep of stand-in trials on one-slot nodes, from its call to its result."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from align.recipe import Recipe, parse_recipe
from cluster.ray import ray_session
from cluster.settings import Settings, sqlite_url
from cluster.simulated import simulated_pool
from sweeps.pipeline import run_pipeline
from sweeps.pool.placement import make_placement
from sweeps.pool.worker_preflight import check_workers
from sweeps.trials import TrialSummary

#: A machine below this is at rest; another one's work is not waited for longer.
IDLE_PERCENT, REST_SECONDS = 15.0, 30
STAND_IN = "benchmarks.scaling.stand_in:StandIn"


def measure(nodes: int, trials: int = 64, seconds: float = 5.0) -> dict[str, Any]:
    """`trials` that sleep for `seconds` on `nodes` that hold one each, all of them on this machine.

    It measures scheduling alone. No worker is prepared: each starts, and imports, on this machine's
    cores at once. `efficiency` is the time that the trials need at best over `makespan`, which
    begins before the placement is decided and ends with the registered adapter. `first` is when
    the first trial began, `last_worker` when the last worker's first did, `gap` the mean time
    between two trials of a worker, all in seconds.
    """
    with tempfile.TemporaryDirectory() as folder, simulated_pool() as pool:
        for _ in range(nodes):
            pool.join(gpus=1, accelerator="T4", wait=False)
        pool.settle()
        settings = Settings(
            home=Path(folder),
            database_url=sqlite_url(Path(folder) / "alignery.db"),
            storage=f"{folder}/storage",
            ray_address=pool.address,
        )
        recipe = _recipe(trials, seconds)
        with ray_session(settings):
            _rest()
            began = time.time()
            placement = make_placement(settings, recipe, ["sft"], accelerator="T4")
            check_workers(settings, placement, recipe)
            result = run_pipeline(settings, recipe, placement=placement, factory=STAND_IN)["sft"]
            makespan = time.time() - began
    ideal = trials * seconds / nodes
    return {
        "nodes": nodes,
        "trials": trials,
        "seconds": seconds,
        "makespan": makespan,
        "efficiency": ideal / makespan,
        **_when(result.trials, began),
    }


def _rest() -> None:
    """Wait until this machine has nothing more to do: nodes go on starting after they joined."""
    for _ in range(REST_SECONDS):
        if psutil.cpu_percent(interval=1.0) < IDLE_PERCENT:
            return


def _recipe(trials: int, seconds: float) -> Recipe:
    return parse_recipe({
        "name": "scaling",
        "base": "tiny-random",
        "data": {"task": "arithmetic"},
        "stages": {
            "sft": {
                "method": "sft",
                "learning_rate": {"loguniform": [1e-5, 1e-1], "default": 1e-3},
                "max_steps": 1,
                "max_length": 64,
                "objective": "accuracy",
                "budget_seconds": seconds,
                "sweep": {"trials": trials, "sampler": "random", "finalists": 0},
            }
        },
    })  # fmt: skip


def _when(trials: tuple[TrialSummary, ...], began: float) -> dict[str, Any]:
    """From when the trials ran, by the workers' clocks, which are this machine's."""
    runs = [run for trial in trials for run in trial.ran.values()]
    by_worker: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        by_worker.setdefault(f"{run['node']} {run['worker']}", []).append(
            (run["began"], run["ended"])
        )
    gaps = [
        after[0] - before[1]
        for times in map(sorted, by_worker.values())
        for before, after in itertools.pairwise(times)
    ]
    starts = sorted(min(times)[0] - began for times in by_worker.values())
    return {
        "workers": len(by_worker),
        "first": starts[0],
        "last_worker": starts[-1],
        "gap": sum(gaps) / len(gaps) if gaps else 0.0,
    }
