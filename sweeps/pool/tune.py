"""Ray Tune's side of the driver: it places, restarts and reuses; the study bridge decides.

Tune's own searchers and schedulers keep a second truth about a sweep: they tell stopped trials
COMPLETE, leave NaN trials running and forget rungs on restore. So a plain Searcher and a FIFO
scheduler pass everything to one bridge, and a fresh Tuner on the same study is a resumed sweep.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweeps.errors import SweepError
from sweeps.events import Event, MilestoneReported, OnEvent, TrialFinished, TrialStarted
from sweeps.pool.job import Job
from sweeps.pool.trainable import TrialRunner
from sweeps.study.bridge import StudyBridge
from sweeps.study.trials import Milestone

#: A worker that dies is replaced once; a second death is the trial's fault.
_RESTARTS = 1

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths in a recipe count from here
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would turn Ctrl-C into an ordinary return
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


def run_trials(
    bridge: StudyBridge, job: Job, concurrent: int, resources: dict[str, float], on_event: OnEvent
) -> None:
    """Run the study's trials on the Ray that this process is connected to, until all have ended.

    Raises what stopped the sweep as a whole; its trials can then be continued.
    """
    run = _Run(bridge, job.stage, on_event)
    with _quiet(), tempfile.TemporaryDirectory(prefix="alignery-tune-") as folder:
        try:
            _tuner(run, job, concurrent, resources, folder).fit()
        except tune.TuneError:
            if run.fatal is None:
                raise
        except RuntimeError as error:
            # Tune takes a worker's death for an ordinary failure, but not this kind of death.
            if not isinstance(error.__cause__, OutOfMemoryError):
                raise
            raise SweepError(
                "Ray ended a worker as this machine's memory was nearly full; nothing measured "
                "is lost. Run the same command again with --max-concurrent 1, or lower "
                f"per_device_train_batch_size of stage '{job.stage}' and accumulate more steps"
            ) from None
    if run.fatal is not None:
        raise run.fatal


def capacity(cpus_per_trial: int) -> tuple[int, dict[str, float]]:
    """(trials that fit at once, resources of each) on the connected Ray.

    A trial gets one GPU where there are any. SweepError if not even one trial fits.
    """
    total = ray.cluster_resources()
    cpus, gpus = int(total.get("CPU", 0)), int(total.get("GPU", 0))
    fit = cpus // cpus_per_trial
    if fit < 1:
        raise SweepError(
            f"a trial needs {cpus_per_trial} CPUs and Ray has {cpus}; lower --cpus-per-trial"
        )
    if gpus:
        return min(fit, gpus), {"cpu": cpus_per_trial, "gpu": 1}
    return fit, {"cpu": cpus_per_trial}


def _tuner(
    run: _Run, job: Job, concurrent: int, resources: dict[str, float], folder: str
) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(TrialRunner, resources),
        param_space={"job": job.model_dump_json()},
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(run),
            scheduler=StudyScheduler(run),
            num_samples=-1,  # the study decides the end
            max_concurrent_trials=concurrent,
            reuse_actors=True,
            trial_name_creator=_short_name,
            trial_dirname_creator=_short_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,  # nothing that lasts: checkpoints and results go elsewhere
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=_RESTARTS),
            # The default saves at the end, after STOP, which turns a finished trial into an error.
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),
        ),
    )


class _Run:
    """What searcher and scheduler share: the bridge, and what went wrong."""

    def __init__(self, bridge: StudyBridge, stage: str, on_event: OnEvent) -> None:
        self.bridge = bridge
        self.fatal: BaseException | None = None
        self.numbers: dict[str, int] = {}  # by Tune's trial id
        self.reasons: dict[str, str] = {}
        self._stage = stage
        self._on_event = on_event

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        if self.fatal is not None or (next_ := self.bridge.ask()) is None:
            return str(Searcher.FINISHED)
        self.numbers[trial_id] = next_.number
        self._emit(TrialStarted(self._stage, next_.number, next_.params, next_.decided))
        return {"assignment": json.dumps(vars(next_))}

    def result(self, trial_id: str, result: dict[str, Any]) -> str:
        number = self.numbers[trial_id]
        if (reason := result.get("failure")) is not None:
            # Before any trial was measured, a bad recipe, data set or model would hit them all.
            if (error := result.get("error")) is not None and not self.bridge.started:
                self.fatal = self.fatal or error
            else:
                self.fail(number, reason)
            return str(TrialScheduler.STOP)
        milestone = Milestone(**json.loads(result["milestone"]))
        goes_on = self.bridge.report(number, milestone)
        self._emit(MilestoneReported(self._stage, number, milestone))
        if not goes_on:
            self._emit(TrialFinished(self._stage, self.bridge.summary(number)))
        stop = self.fatal is not None or not goes_on
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def crashed(self, trial_id: str) -> None:
        if (number := self.numbers.get(trial_id)) is not None:
            self.fail(number, self.reasons.get(trial_id, "the worker process died"))

    def fail(self, number: int, reason: str) -> None:
        self.bridge.fail(number, reason)
        self._emit(TrialFinished(self._stage, self.bridge.summary(number)))

    def safely(self, hook: Callable[..., Any], *arguments: Any, otherwise: Any = None) -> Any:
        """Run a hook of Tune's; what it raises ends the sweep with that error, unwrapped."""
        try:
            return hook(*arguments)
        except Exception as error:
            self.fatal = self.fatal or error
            return otherwise

    def _emit(self, event: Event) -> None:
        self._on_event(event)


class StudySearcher(Searcher):  # type: ignore[misc]
    """Hands out the study's trials."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self._run = run

    def set_search_properties(self, *_arguments: Any, **_more: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        run = self._run
        return run.safely(run.suggest, trial_id, otherwise=Searcher.FINISHED)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if error:  # the scheduler has told the study everything else
            self._run.safely(self._run.crashed, trial_id)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the study is the state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its configuration; locks and connections stay here


class StudyScheduler(FIFOScheduler):  # type: ignore[misc]
    """Reports each result to the study, which decides. Tune asks it before the searcher."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self._run = run

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        run = self._run
        stop = TrialScheduler.STOP
        return str(run.safely(run.result, trial.trial_id, result, otherwise=stop))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._run.reasons[trial.trial_id] = _crash_reason(trial.pickled_error_file)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _crash_reason(file: str | None) -> str:
    error = ray.cloudpickle.loads(Path(file).read_bytes()) if file else None
    if isinstance(error, RayTaskError):
        cause = error.cause if error.cause is not None else error
        return f"{type(cause).__name__}: {cause}"
    if isinstance(error, RayActorError):
        return f"the worker process died: {' '.join(str(error).split())}"
    return f"the worker process failed: {error}"


def _short_name(trial: Any) -> str:
    return f"trial_{trial.trial_id}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Tune from printing, and from taking over signals and the working directory."""
    before = {name: os.environ.get(name) for name in _QUIET}
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train", "ray.air")]
    levels = [logger.level for logger in loggers]
    os.environ.update(_QUIET)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
