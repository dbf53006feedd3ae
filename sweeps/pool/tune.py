"""Runs the dispatcher's tasks with Ray Tune, which places, starts and reuses workers.

Tune's own searchers and schedulers keep separate state about a sweep: they mark stopped trials as
COMPLETE, leave NaN trials running and forget rungs on restore. So one Tune run serves all open
searches through one dispatcher, and resuming a sweep starts a new Tune run on the same studies.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune

from sweeps.errors import SweepError
from sweeps.pool.dispatch import Dispatcher
from sweeps.pool.placement import Placement
from sweeps.pool.searcher import Left, StudyScheduler, StudySearcher, TrialStarts, TuneRun
from sweeps.pool.trainable import TrialRunner

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would turn Ctrl-C into an ordinary return
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # the dispatcher limits them
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


def run_trials(dispatcher: Dispatcher) -> None:
    """Run all tasks until the work is finished. Raises the first error of the dispatcher's hooks.

    Afterwards no worker runs any more, and unfinished tasks can be handed out again.
    """
    run = TuneRun(dispatcher)
    with _quiet(), tempfile.TemporaryDirectory(prefix="alignery-tune-") as folder:
        try:
            _tuner(run, dispatcher.placement, folder).fit()
        except (Left, tune.TuneError):
            if run.fatal is None:
                raise
        except BaseException:  # such as Ctrl-C, after which Tune does not clean up
            run.abandon()
            raise
    if run.fatal is not None:
        raise run.fatal from None
    if not dispatcher.work.finished:
        raise SweepError(
            "Ray ended before all trials had; run the same command again: the sweep goes on "
            "where it stopped"
        )


def _tuner(run: TuneRun, placement: Placement, folder: str) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(TrialRunner, lambda config: placement.resources(config["stage"])),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(run),
            scheduler=StudyScheduler(run),
            num_samples=-1,  # the studies decide when to end
            reuse_actors=True,
            trial_name_creator=_short_name,
            trial_dirname_creator=_short_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,  # temporary: checkpoints and results go elsewhere
            verbose=0,
            callbacks=[TrialStarts(run)],
            failure_config=tune.FailureConfig(max_failures=0),  # retries are asked for again
            # The default saves a checkpoint after STOP, which turns a finished trial into an error.
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),
        ),
    )


def _short_name(trial: Any) -> str:
    return f"trial_{trial.trial_id}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Tune from printing and from changing signal handlers and the working directory."""
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
