"""The worker's side of a sweep: an actor that runs trials one after another, step by step."""

from __future__ import annotations

import gc
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune

from align.errors import AligneryError, TrainingError
from align.gpu_errors import lost_gpu
from cluster.secrets import known_secrets
from cluster.storage import Storage
from sweeps.pool.ray_artifact_cache import use_shelf
from sweeps.pool.stage_job import (
    METRICS,
    Measurement,
    MeasureUnseen,
    StageJob,
    TrialFactory,
    TrialProtocol,
    read_unseen,
    stage_inputs,
    trial_key,
    unseen_key,
)
from sweeps.pool.worker_process import import_for, use_card
from sweeps.pool.worker_warnings import collect_warnings
from sweeps.pool.workspace import Workspace
from sweeps.trials import Assignment, Milestone


class TrialRunner(tune.Trainable):
    """Runs trials in one process, one after another, so that imports and models load once.

    One `step()` is one milestone, or one finalist on unseen items. `setup` and `reset_config` only
    store the configuration, because Ray also runs them for actors that never train. Results are
    plain data: `{"milestone": JSON}`, `{"unseen": JSON}`, or `{"failure": reason}`, with `error` if
    the cause may hit every trial of the stage; with the texts of `warnings` (JSON) that the process
    gave meanwhile, if there are any. A lost GPU and other exceptions than AligneryError
    may be the machine's fault: they end the process, and a new worker continues from the newest
    checkpoint.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        # Relative paths in a recipe start from the working directory, which Tune would change.
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        super().__init__(*arguments, **keywords)

    def setup(self, config: dict[str, Any]) -> None:
        self._open_trial: tuple[TrialProtocol, Workspace] | None = None
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        with collect_warnings(known_secrets(self._job.open_settings(), ())) as texts:
            result = self._result()
        return {**result, "warnings": json.dumps(texts)} if texts else result

    def _result(self) -> dict[str, Any]:
        try:
            if self._assignment is None:
                return {"unseen": self._measure()}
            return {"milestone": self._advance(self._assignment)}
        except Exception as error:
            return failure(error)

    def _take(self, config: dict[str, Any]) -> None:
        self._leave()
        self._job = StageJob.model_validate_json(config["job"])
        self._assignment: Assignment | None = None
        self._measurement: Measurement | None = None
        if "assignment" in config:
            self._assignment = Assignment(**json.loads(config["assignment"]))
            self._done = self._assignment.decided
        else:
            self._measurement = Measurement(**json.loads(config["measurement"]))

    def cleanup(self) -> None:
        self._leave()

    def _leave(self) -> None:
        """Close the open trial: it ended, or another worker continues it."""
        if self._open_trial is not None:
            self._open_trial[1].leave()
        self._open_trial = None

    def _advance(self, assignment: Assignment) -> str:
        started_at, started = time.time(), time.monotonic()
        self._importing = 0.0
        if self._open_trial is None:
            self._open_trial = self._open(assignment)
        opening_seconds = time.monotonic() - started
        trial, workspace = self._open_trial
        step = next_milestone(trial.milestones, self._done, trial.step, set(workspace.measured()))
        metrics = workspace.measured().get(step) if step <= trial.step else None
        if metrics is None:
            metrics = dict(trial.advance(step))
            metrics["seconds_import"] = self._importing
            metrics["seconds_load"] = (
                metrics.get("seconds_load", 0.0) + opening_seconds - self._importing
            )
            metrics["seconds"] = time.monotonic() - started
            workspace.keep(step, metrics, trial.rung_values())
        total, index = trial.milestones[-1], trial.milestones.index(step)
        values = workspace.values(step)
        milestone = Milestone(step, total, index, metrics, _ran(started_at), values)
        if milestone.last and math.isfinite(milestone.objective):
            workspace.publish(trial, metrics)
        self._done = step
        return json.dumps(vars(milestone))

    def _open(self, assignment: Assignment) -> tuple[TrialProtocol, Workspace]:
        job = self._job
        factory: TrialFactory = self._prepare(job.factory)
        workspace = Workspace(job.open_settings(), job.study, assignment.number)
        inputs = stage_inputs(job, job.storage())
        trial = factory(
            inputs.recipe,
            job.stage,
            assignment.params,
            parent=inputs.parent,
            reward_model=inputs.reward_model,
            folder=workspace.folder,
            on_checkpoint=workspace.keep_checkpoint,
        )
        return trial, workspace

    def _measure(self) -> str:
        """Measure a finalist on unseen items; reuse the metrics of an earlier attempt if stored."""
        started, measurement = time.time(), self._measurement
        assert measurement is not None  # set by _take
        job = self._job
        storage, key = job.storage(), unseen_key(job.study, measurement.name)
        if (metrics := read_unseen(storage, key)) is None:
            measure: MeasureUnseen = self._prepare(job.measure)
            inputs = stage_inputs(job, storage)
            with tempfile.TemporaryDirectory(prefix="alignery-unseen-") as folder:
                target = Path(folder)
                metrics = measure(
                    inputs.recipe,
                    job.stage,
                    measurement.params,
                    self._adapter(storage, measurement, inputs.parent),
                    parent=inputs.parent,
                    reward_model=inputs.reward_model,
                    target=target,
                )
                (target / METRICS).write_text(json.dumps(metrics), encoding="utf-8")
                storage.put_folder(target, key)
        return json.dumps({"metrics": metrics, "ran": _ran(started)})

    def _adapter(
        self, storage: Storage, measurement: Measurement, parent: Path | None
    ) -> Path | None:
        if measurement.number is None:
            return parent if measurement.name == "parent" else None
        return storage.get_folder(trial_key(self._job.study, measurement.number, "published"))

    def _prepare(self, dotted: str) -> Any:
        """Set this process up for the job, whatever it ran before, and import `dotted`.

        Memory of an earlier trial is freed first.
        """
        gc.collect()
        job = self._job
        import_started = time.monotonic()
        attribute = import_for(job.open_settings(), job.cpus, job.gpus, dotted)
        self._importing = time.monotonic() - import_started
        use_card(job.gpus, job.recipe.base)
        use_shelf(job.shelf)
        return attribute


def next_milestone(
    milestones: tuple[int, ...], decided: int, trained: int, measured: set[int]
) -> int:
    """The step of the milestone to report next: the first undecided one that can be measured.

    `decided` and `trained` are optimizer steps, `measured` the steps with stored metrics. A trial
    can have been trained past a milestone only if it was measured there.
    """
    undecided = [step for step in milestones if step > decided]
    measurable = [step for step in undecided if step >= trained or step in measured]
    return measurable[0] if measurable else milestones[-1]


def _ran(started_at: float) -> dict[str, Any]:
    """When and where it ran until now: seconds since the epoch, Ray's node, the process id."""
    node = ray.get_runtime_context().get_node_id()
    return {"began": started_at, "ended": time.time(), "node": node, "worker": str(os.getpid())}


def failure(error: Exception) -> dict[str, Any]:
    """The result for an error of the trial. Errors that end the process are raised.

    A lost GPU is noticed behind any error, since the next trial of this process would fail, too.
    """
    if (lost := lost_gpu(error)) is not None:
        raise lost from error
    if not isinstance(error, AligneryError):
        raise error
    result: dict[str, Any] = {"failure": f"{type(error).__name__}: {error}"}
    return result if isinstance(error, TrainingError) else {**result, "error": error}
