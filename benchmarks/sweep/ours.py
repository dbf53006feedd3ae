"""Our own contender: `python -m benchmarks.sweep.ours TASK.json OUT.json`, in its own process."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.sweep.outcome import Outcome, TrialRun


def main(task_file: str, out_file: str) -> None:
    """The whole search, with a home folder of its own, so that nothing is there already."""
    began = time.time()

    from benchmarks.sweep.task import STAGE, recipe_of
    from cluster.ray import ray_session
    from cluster.registry import Registry
    from cluster.settings import Settings
    from cluster.storage import Storage
    from sweeps.pipeline import run_pipeline

    task = json.loads(Path(task_file).read_text(encoding="utf-8"))
    recipe = recipe_of(task["seed"], task["trials"], task["steps"])
    recipe.stages[STAGE].sweep.points = task["points"][1:]  # the first is the recipe's default
    settings = Settings()
    with ray_session(settings, num_cpus=task["concurrent"]):
        result = run_pipeline(settings, recipe)[STAGE]
    outcome = Outcome(began, 0.0, task["concurrent"])
    for trial in result.trials:
        complete = trial.state == "COMPLETE"
        outcome.trials.append(
            TrialRun(
                params=dict(trial.params),
                began=min(one["began"] for one in trial.ran.values()),
                ended=max(one["ended"] for one in trial.ran.values()),
                steps=trial.step,
                phases=_phases(trial.rungs),
                score=trial.objective if complete else None,
            )
        )
    from cluster.database import open_database

    registry = Registry(open_database(settings), Storage(settings))
    outcome.best.folder = str(registry.folder(result.version))
    outcome.ended = time.time()
    Path(out_file).write_text(outcome.to_json(), encoding="utf-8")


def _phases(rungs: dict[int, dict[str, Any]]) -> dict[str, float]:
    """Seconds by kind over all of a trial's milestones."""
    total = {
        name: sum(one.get(f"seconds_{name}", 0.0) for one in rungs.values())
        for name in ("import", "load", "train", "evaluate")
    }
    return total


if __name__ == "__main__":
    main(*sys.argv[1:])
