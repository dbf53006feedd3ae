"""The queue of a sweep's finalists: handed to workers, and their metrics on unseen items."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align.evaluation.examples import EXAMPLES, Example, read_examples
from cluster.storage import Storage
from sweeps.errors import SweepError
from sweeps.events import FinalistMeasured, OnEvent, TrialRetried
from sweeps.finalists import Standing, SystemResult, beside, finalists, standing
from sweeps.pool.protocols import End
from sweeps.pool.stage_job import Measurement, StageJob, read_unseen, trial_key, unseen_key
from sweeps.study.study_session import StudySession
from sweeps.trials import DEFAULT, TrialSummary, ranked


class Finals:
    """The systems that are still to be measured on unseen items, and the metrics of the others."""

    def __init__(
        self, job: StageJob, storage: Storage, bridge: StudySession, on_event: OnEvent
    ) -> None:
        """Find the systems to measure; the metrics that an earlier driver stored are reused."""
        self._job, self._storage, self._bridge, self._on_event = job, storage, bridge, on_event
        self._config = job.recipe.stages[job.stage]
        self._metrics: dict[str, Mapping[str, float]] = {}
        self._numbers: dict[str, int | None] = {}
        self._deaths: dict[str, int] = {}
        self._live: set[str] = set()
        self._waiting: list[Measurement] = []
        for measurement, metrics in self._wanted(bridge.trials()):
            self._numbers[measurement.name] = measurement.number
            if metrics is None:
                self._waiting.append(measurement)
            else:
                self._metrics[measurement.name] = metrics

    @property
    def done(self) -> bool:
        """Whether all systems are measured."""
        return not self._waiting and not self._live

    def ask(self) -> Measurement | None:
        """The next system to measure; None if none is left."""
        if not self._waiting:
            return None
        measurement = self._waiting.pop(0)
        self._live.add(measurement.name)
        return measurement

    def result(self, measurement: Measurement, result: Mapping[str, Any]) -> None:
        """Record what a worker measured. Raises errors that every other worker would meet too."""
        if (reason := result.get("failure")) is not None:
            error = result.get("error")
            raise error if error is not None else self._failed(measurement, reason)
        content = json.loads(result["unseen"])
        metrics = content["metrics"]
        if measurement.number is not None:
            self._bridge.unseen(measurement.number, metrics, content["ran"])
        self._live.discard(measurement.name)
        self._metrics[measurement.name] = metrics
        value = metrics.get("objective", math.nan)
        event = FinalistMeasured(
            self._job.stage, measurement.number, value, measurement.name, len(self._numbers)
        )
        self._on_event(event)

    def died(self, measurement: Measurement, end: End) -> None:
        """Let another worker measure a system. SweepError if too many of its workers have ended."""
        self._live.discard(measurement.name)
        self._deaths[measurement.name] = self._deaths.get(measurement.name, 0) + end.counts
        if self._deaths[measurement.name] > self._config.sweep.retries:
            raise self._failed(measurement, end.reason)
        self._waiting.append(measurement)
        if measurement.number is not None:
            self._on_event(TrialRetried(self._job.stage, measurement.number, end.reason))

    def standing(self, trials: Sequence[TrialSummary]) -> Standing | None:
        """The standing of the finalists; None if no system was measured."""
        best = ranked(trials, self._config.minimised)
        if not self._metrics or not best:
            return None
        measured = [
            SystemResult(name, number, self._metrics[name], self._rows(name))
            for name, number in self._numbers.items()
        ]
        return standing(measured, trials, self._config, best[0].number)

    def _wanted(
        self, trials: Sequence[TrialSummary]
    ) -> list[tuple[Measurement, dict[str, float] | None]]:
        """The systems to measure, each with its metrics if it was measured before."""
        count = self._config.sweep.finalists
        chosen = finalists(trials, self._config.minimised, count)
        if not any(trial.feasible for trial in chosen):
            return []
        systems: list[tuple[Measurement, dict[str, float] | None]] = []
        for trial in chosen:
            name = "default" if trial.number == DEFAULT else f"trial {trial.number}"
            metrics = dict(trial.unseen) or None
            # No adapter was stored of a trial without a chance; it has no chance now either.
            if metrics or self._storage.exists(self._published(trial.number)):
                systems.append((Measurement(name, trial.number, trial.params), metrics))
        defaults = self._config.defaults()
        for name in beside(self._config, self._job.parent_id is not None):
            metrics = read_unseen(self._storage, unseen_key(self._job.study, name))
            systems.append((Measurement(name, None, defaults), metrics))
        return systems

    def _published(self, number: int) -> str:
        return trial_key(self._job.study, number, "published")

    def _rows(self, name: str) -> list[Example]:
        key = unseen_key(self._job.study, name)
        if not self._storage.exists(key):
            return []
        folder: Path = self._storage.get_folder(key)
        return read_examples(folder) if (folder / EXAMPLES).is_file() else []

    def _failed(self, measurement: Measurement, reason: str) -> SweepError:
        return SweepError(
            f"{measurement.name} of {self._job.study} could not be measured on unseen items: "
            f"{reason}. All trials are kept: run the same command again to try once more, or set "
            f"stages.{self._job.stage}.sweep.finalists to 0 to take the best on validation items"
        )
