"""What is in a study: its trials, those still to come, and what it was warmed up with."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import TrialState

from align.recipe import StageConfig
from align.space.spaces import Value
from cluster.database import Database
from cluster.settings import Settings
from sweeps.study.compatibility import check_direction, check_spaces, direction_of
from sweeps.study.constraints import constrain
from sweeps.study.distributions import distribution, whole
from sweeps.study.grid import Grid, key
from sweeps.study.storage import open_storage, summaries
from sweeps.study.trials import AGAIN, FROM, TrialSummary, is_own
from sweeps.study.warm_start import lesson

#: The study's user attribute that keeps what was taken from an earlier one.
WARM = "warm"


class StudyTrials:
    """One study on the database and what the recipe still wants of it.

    Its trials are read once after each change: call `changed` when something was written.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        study: str,
        stage: StageConfig,
        grid: Grid | None,
    ) -> None:
        """Open the study, or create it. SweepError if it contradicts the recipe."""
        self._stage = stage
        self._grid = grid
        self._trials: list[Any] | None = None
        self.notes: list[str] = []
        self._storage = open_storage(settings)
        try:
            self.study = self._open(settings, database, study)
        except BaseException:
            self._storage.engine.dispose()
            raise
        points = [*stage.sweep.points, *self._warm.get("points", [])]
        self._points = [whole(stage, point) for point in points]
        self._note()

    def close(self) -> None:
        """Give the connections back."""
        self._storage.engine.dispose()

    def changed(self) -> None:
        """Forget what was read of the trials."""
        self._trials = None

    def begun(self) -> list[Any]:
        """The sweep's own trials that were begun, by number."""
        return [one for one in self._own() if one.state != TrialState.WAITING]

    def open_trials(self) -> list[Any]:
        """The sweep's own trials that have not ended, queued ones too."""
        return [one for one in self._own() if not one.state.is_finished()]

    def summaries(self, number: int | None = None) -> list[TrialSummary]:
        """What is known of the trials that were begun, or of one of them."""
        begun = self.begun()
        chosen = begun if number is None else [one for one in begun if one.number == number]
        return summaries(self.study, chosen)

    @property
    def wanted(self) -> int:
        """Trials that the sweep is to have; one is enough where nothing is searched."""
        own = self._own()
        repeats = sum(AGAIN in one.user_attrs for one in own)
        wanted = repeats + (self._stage.sweep.trials if self._stage.space() else 1)
        if self._grid is None:
            return wanted
        return min(wanted, len(own) + len(self._untried()))

    def next_number(self) -> int | None:
        """The number that Optuna gives the next trial; None if there are enough.

        Queued trials come first, then points that are to be tried, which it queues.
        """
        if len(self.begun()) >= self.wanted:
            return None
        number = len(self._all())
        for one in self._own():
            if one.state == TrialState.WAITING:
                return int(one.number)
        if untried := self._untried():
            self.study.enqueue_trial(untried[0])
            self.changed()
        return number

    def again(self) -> int:
        """Queue what failed and was not repeated yet; how many."""
        own = self._own()
        repeated = {one.user_attrs.get(AGAIN) for one in own}
        failed = [one for one in own if one.state == TrialState.FAIL and one.number not in repeated]
        for one in failed:
            params = one.params or one.system_attrs.get("fixed_params", {})
            self.study.enqueue_trial(params, user_attrs={AGAIN: one.number})
        self.changed()
        return len(failed)

    def _untried(self) -> list[dict[str, Value]]:
        """Points of the recipe, of an earlier search and of a grid that no trial has yet."""
        tried = {key(one.system_attrs.get("fixed_params", one.params)) for one in self._own()}
        points = [*self._points, *(self._grid.points if self._grid is not None else [])]
        fresh = {key(point): point for point in points if key(point) not in tried}
        return list(fresh.values())

    def _all(self) -> list[Any]:
        if self._trials is None:
            self._trials = list(self.study.get_trials(deepcopy=False))
        return self._trials

    def _own(self) -> list[Any]:
        return [one for one in self._all() if is_own(one)]

    def _open(self, settings: Settings, database: Database, name: str) -> Any:
        study = self._load(name)
        if study is not None:
            check_direction(study, self._stage)
            check_spaces(name, study.get_trials(deepcopy=False), self._stage.space())
        self._warm = {} if study is None else study.user_attrs.get(WARM, {})
        begun = study is not None and any(
            is_own(one) and one.state != TrialState.WAITING
            for one in study.get_trials(deepcopy=False)
        )
        new = self._stage.sweep.warm_start is not None and not begun and not self._warm
        if new:
            self._warm = lesson(settings, database, name, self._stage).plain()
        if study is None:
            study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                direction=direction_of(self._stage),
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(),
                pruner=optuna.pruners.NopPruner(),
            )
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(self._stage.defaults())
        if new:
            study.set_user_attr(WARM, self._warm)
        if not begun:
            self._teach(study)
        return study

    def _load(self, name: str) -> Any:
        try:
            return optuna.load_study(
                storage=self._storage,
                study_name=name,
                sampler=optuna.samplers.RandomSampler(),
                pruner=optuna.pruners.NopPruner(),
            )
        except KeyError:
            return None

    def _teach(self, study: Any) -> None:
        """Add the earlier search's trials, finished, beside the sweep's own."""
        have = sum(not is_own(one) for one in study.get_trials(deepcopy=False))
        spaces = self._stage.space()
        for one in self._warm.get("trials", [])[have:]:
            frozen = optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                value=one["objective"],
                params=one["params"],
                distributions={path: distribution(spaces[path]) for path in one["params"]},
                user_attrs={FROM: self._warm["source"]},
            )
            if one["violation"] is not None:
                constrain(frozen, {"violation": one["violation"]})
            study.add_trial(frozen)

    def _note(self) -> None:
        if self._warm:
            self.notes.append(self._warm["note"])
        if self._grid is not None and self.wanted < self._stage.sweep.trials:
            self.notes.append(
                f"the grid has {self.wanted} points, fewer than sweep.trials "
                f"({self._stage.sweep.trials}): each is tried once"
            )
