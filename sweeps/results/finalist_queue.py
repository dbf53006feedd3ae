"""The finalists of one sweep: handed to workers, taken in, and what they showed."""

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
from sweeps.pool.protocols import End
from sweeps.pool.stage_job import Measurement, StageJob, read_unseen, trial_key, unseen_key
from sweeps.results.baseline import DEFAULT
from sweeps.results.finalists import Standing, SystemResult, beside, finalists, standing
from sweeps.study.study_session import StudySession
from sweeps.study.trials import TrialSummary, ranked


class Finals:
    """What is still to be measured on unseen items, and what was."""

    def __init__(
        self, job: StageJob, storage: Storage, bridge: StudySession, on_event: OnEvent
    ) -> None:
        """Find who is to be measured; what an earlier driver had measured is taken over."""
        self._job, self._storage, self._bridge, self._on_event = job, storage, bridge, on_event
        self._config = job.recipe.stages[job.stage]
        self._metrics: dict[str, Mapping[str, float]] = {}
        self._numbers: dict[str, int | None] = {}
        self._deaths: dict[str, int] = {}
        self._live: set[str] = set()
        self._waiting: list[Measurement] = []
        for one, known in self._wanted(bridge.trials()):
            self._numbers[one.name] = one.number
            if known is None:
                self._waiting.append(one)
            else:
                self._metrics[one.name] = known

    @property
    def done(self) -> bool:
        """Whether all are measured."""
        return not self._waiting and not self._live

    def ask(self) -> Measurement | None:
        """The next to measure, if any is left."""
        if not self._waiting:
            return None
        one = self._waiting.pop(0)
        self._live.add(one.name)
        return one

    def result(self, one: Measurement, result: Mapping[str, Any]) -> None:
        """Take in what a worker measured. Raises what would keep every worker from it."""
        if (reason := result.get("failure")) is not None:
            error = result.get("error")
            raise error if error is not None else self._failed(one, reason)
        content = json.loads(result["unseen"])
        metrics = content["metrics"]
        if one.number is not None:
            self._bridge.unseen(one.number, metrics, content["ran"])
        self._live.discard(one.name)
        self._metrics[one.name] = metrics
        value = metrics.get("objective", math.nan)
        event = FinalistMeasured(self._job.stage, one.number, value, one.name, len(self._numbers))
        self._on_event(event)

    def died(self, one: Measurement, end: End) -> None:
        """Its worker ended: another tries. SweepError if that has happened too often."""
        self._live.discard(one.name)
        self._deaths[one.name] = self._deaths.get(one.name, 0) + end.counts
        if self._deaths[one.name] > self._config.sweep.retries:
            raise self._failed(one, end.reason)
        self._waiting.append(one)
        if one.number is not None:
            self._on_event(TrialRetried(self._job.stage, one.number, end.reason))

    def standing(self, trials: Sequence[TrialSummary]) -> Standing | None:
        """Who has won; None if nobody was measured."""
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
        """Who is to be measured, with the metrics of those who were."""
        count = self._config.sweep.finalists
        chosen = finalists(trials, self._config.minimised, count)
        if not any(one.feasible for one in chosen):
            return []
        found: list[tuple[Measurement, dict[str, float] | None]] = []
        for one in chosen:
            name = "default" if one.number == DEFAULT else f"trial {one.number}"
            known = dict(one.unseen) or None
            # One that had no chance in an earlier attempt is not kept; it has none now either.
            if known or self._storage.exists(self._published(one.number)):
                found.append((Measurement(name, one.number, one.params), known))
        defaults = self._config.defaults()
        for name in beside(self._config, self._job.parent_id is not None):
            known = read_unseen(self._storage, unseen_key(self._job.study, name))
            found.append((Measurement(name, None, defaults), known))
        return found

    def _published(self, number: int) -> str:
        return trial_key(self._job.study, number, "published")

    def _rows(self, name: str) -> list[Example]:
        key = unseen_key(self._job.study, name)
        if not self._storage.exists(key):
            return []
        folder: Path = self._storage.get_folder(key)
        return read_examples(folder) if (folder / EXAMPLES).is_file() else []

    def _failed(self, one: Measurement, reason: str) -> SweepError:
        return SweepError(
            f"{one.name} of {self._job.study} could not be measured on unseen items: {reason}. "
            "All trials are kept: run the same command again to try once more, or set "
            f"stages.{self._job.stage}.sweep.finalists to 0 to take the best on validation items"
        )
