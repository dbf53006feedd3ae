"""Ray Tune's side of the driver: it places, starts and reuses workers; searches decide.

Tune's own searchers and schedulers keep a second truth about a sweep: they tell stopped trials
COMPLETE, leave NaN trials running and forget rungs on restore. So one Tune run serves all open
searches through one dispatcher, and a fresh one on the same studies is a resumed sweep.
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
from sweeps.pool.lean import Stand
from sweeps.pool.placement import Placement
from sweeps.pool.searcher import Left, StudyScheduler, StudySearcher, TuneRun

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths in a recipe count from here
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would turn Ctrl-C into an ordinary return
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # the dispatcher knows how many fit
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


def run_trials(dispatcher: Dispatcher) -> None:
    """Run all that there is, until the work is finished. Raises what its hooks raised.

    Then nothing of it runs any more, and what was handed out can be handed out again.
    """
    run = TuneRun(dispatcher)
    with _quiet(), tempfile.TemporaryDirectory(prefix="alignery-tune-") as folder:
        try:
            _tuner(run, dispatcher.placement, folder).fit()
        except (Left, tune.TuneError):
            if run.fatal is None:
                raise
        except BaseException:  # Ctrl-C, for which Tune does not clean up
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
        tune.with_resources(Stand, lambda config: placement.resources(config["stage"])),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(run),
            scheduler=StudyScheduler(run),
            num_samples=-1,  # the studies decide the end
            reuse_actors=True,
            trial_name_creator=_short_name,
            trial_dirname_creator=_short_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,  # nothing that lasts: checkpoints and results go elsewhere
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),  # what is retried, is asked again
            # The default saves at the end, after STOP, which turns a finished trial into an error.
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),
        ),
    )


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
