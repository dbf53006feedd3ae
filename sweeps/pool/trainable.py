"""The worker's side of a sweep: an actor that runs one trial after another, step by step."""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import time
from typing import Any

from ray import tune

from align.errors import AligneryError, TrainingError
from sweeps.pool.job import Job, Trial, TrialFactory, adapter_folder, import_dotted
from sweeps.pool.workspace import Workspace
from sweeps.study.trials import Assignment, Milestone


class TrialRunner(tune.Trainable):  # type: ignore[misc]
    """Runs trials of one sweep in one process, so that heavy imports and models load once.

    One `step()` is one milestone. `setup` and `reset_config` only take notes, because Ray also
    runs them for actors that never train. Results are plain data:
    `{"milestone": JSON}`, or `{"failure": reason}` with `error` where the whole sweep is at fault.
    An exception that is no AligneryError may be the machine's fault: it ends the process, and Ray
    tries the trial once more in another, from its newest checkpoint.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        try:
            return {"milestone": self._advance()}
        except TrainingError as error:
            return {"failure": _reason(error)}
        except AligneryError as error:
            return {"failure": _reason(error), "error": error}

    def _take(self, config: dict[str, Any]) -> None:
        self._job = Job.model_validate_json(config["job"])
        self._assignment = Assignment(**json.loads(config["assignment"]))
        self._open_trial: tuple[Trial, Workspace] | None = None
        self._done = self._assignment.decided

    def cleanup(self) -> None:
        self._open_trial = None

    def _advance(self) -> str:
        began = time.monotonic()
        if self._open_trial is None:
            self._open_trial = self._open()
        trial, workspace = self._open_trial
        step = next_milestone(trial.milestones, self._done, trial.step, set(workspace.measured()))
        metrics = workspace.measured().get(step) if step <= trial.step else None
        if metrics is None:
            metrics = trial.advance(step)
            metrics = {**metrics, "seconds": time.monotonic() - began}
            workspace.keep(step, metrics)
        total = trial.milestones[-1]
        milestone = Milestone(step, total, trial.milestones.index(step), metrics)
        if milestone.last and math.isfinite(milestone.objective):
            workspace.publish(trial, metrics)
        self._done = step
        return json.dumps(vars(milestone))

    def _open(self) -> tuple[Trial, Workspace]:
        gc.collect()  # the trial that this process ran before
        job, settings = self._job, self._job.open_settings()
        os.environ["ALIGNERY_HOME"] = str(settings.home)
        os.environ["OMP_NUM_THREADS"] = str(job.cpus)
        factory: TrialFactory = import_dotted(job.factory)
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(job.cpus)
        storage = job.storage()
        workspace = Workspace(settings, job.study, self._assignment.number)
        trial = factory(
            job.recipe,
            job.stage,
            self._assignment.params,
            parent=adapter_folder(storage, job.parent_id),
            reward_model=adapter_folder(storage, job.reward_model_id),
            folder=workspace.folder,
        )
        return trial, workspace


def next_milestone(
    milestones: tuple[int, ...], decided: int, trained: int, measured: set[int]
) -> int:
    """The milestone to report next: the first undecided one that can still be measured.

    A trial can have been trained past a milestone only if it was measured there.
    """
    waiting = [step for step in milestones if step > decided]
    can = [step for step in waiting if step >= trained or step in measured]
    return can[0] if can else milestones[-1]


def _reason(error: AligneryError) -> str:
    return f"{type(error).__name__}: {error}"
