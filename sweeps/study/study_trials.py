"""The contents of a study: its trials, the points still to try, and the warm start's data."""

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
from sweeps.study.distributions import distribution, suggest, whole
from sweeps.study.early_stops import StopWhen
from sweeps.study.grid import Grid, key
from sweeps.study.priors import FIELD, begin_with
from sweeps.study.samplers import Sampling
from sweeps.study.storage import open_storage, summaries
from sweeps.study.warm_start import lesson
from sweeps.trials import AGAIN, FROM, ORIGIN, REASON, TrialSummary, is_own

#: The study's user attribute with the data that a warm start took from an earlier study.
WARM = "warm"
#: The study's user attribute with the priors that it began with.
PRIORS = "priors"


class StudyTrials:
    """One study on the database, and the trials that the recipe still needs.

    Trials are cached: call `changed` after each write.
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
        self.storage = open_storage(settings)
        try:
            self.study = self._open(settings, database, study)
            self._study_id = self.storage.get_study_id_from_name(study)
        except BaseException:
            self.storage.engine.dispose()
            raise
        self.stop_when = StopWhen(self.study, stage.sweep, self.summaries, lambda: self.wanted)
        self._points = self._listed_points()
        self._note()

    def close(self) -> None:
        """Close the database connections."""
        self.storage.engine.dispose()

    def trial_id(self, number: int) -> int:
        """The identifier by which Optuna's storage knows the trial `number`."""
        storage = self.storage
        return int(storage.get_trial_id_from_study_id_trial_number(self._study_id, number))

    def trial(self, number: int) -> Any:
        """Optuna's handle of a RUNNING trial, as `Study.ask` returns it."""
        return optuna.trial.Trial(self.study, self.trial_id(number))

    def changed(self) -> None:
        """Clear the cache of trials."""
        self._trials = None

    def begun(self) -> list[Any]:
        """The sweep's own trials that are not just queued, by number."""
        return [trial for trial in self._own() if trial.state != TrialState.WAITING]

    def open_trials(self) -> list[Any]:
        """The sweep's own trials that have not ended, including queued trials."""
        return [trial for trial in self._own() if not trial.state.is_finished()]

    def summaries(self, number: int | None = None) -> list[TrialSummary]:
        """Summaries of the begun trials, or of the trial `number`."""
        begun_trials = self.begun()
        selected = (
            begun_trials
            if number is None
            else [trial for trial in begun_trials if trial.number == number]
        )
        return summaries(self.study, selected)

    def fail_open(self, reason: str) -> None:
        """End all open trials as FAIL."""
        for trial in self.open_trials():
            trial_id = self.trial_id(trial.number)
            if trial.state == TrialState.WAITING:
                self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            self.storage.set_trial_user_attr(trial_id, REASON, reason)
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        self.changed()

    @property
    def wanted(self) -> int:
        """Number of trials that the sweep should have; without a search space 1 is enough.

        Those that have begun, if `sweep.stop_when` has ended the search.
        """
        if self.stop_when.decision is not None:
            return len(self.begun())
        own_trials = self._own()
        repeats = sum(AGAIN in trial.user_attrs for trial in own_trials)
        count = repeats + (self._stage.sweep.trials if self._stage.space() else 1)
        if self._grid is None:
            return count
        return min(count, len(own_trials) + len(self._untried()))

    def next_number(self) -> int | None:
        """The number that Optuna will give the next trial; None if there are enough trials.

        Queued trials come first; else the next point to try is queued, if there is any.
        """
        if len(self.begun()) >= self.wanted:
            return None
        number = len(self._all())
        for trial in self._own():
            if trial.state == TrialState.WAITING:
                return int(trial.number)
        if untried := self._untried():
            point, origin = untried[0]
            self.study.enqueue_trial(point, user_attrs={ORIGIN: origin})
            self.changed()
        return number

    def again(self) -> int:
        """Queue failed trials that were not repeated yet; returns how many."""
        own_trials = self._own()
        repeated = {trial.user_attrs.get(AGAIN) for trial in own_trials}
        failed = [
            trial
            for trial in own_trials
            if trial.state == TrialState.FAIL and trial.number not in repeated
        ]
        for trial in failed:
            params = trial.params or trial.system_attrs.get("fixed_params", {})
            self.study.enqueue_trial(params, user_attrs={AGAIN: trial.number})
        self.changed()
        if failed and self.stop_when.decision is not None:
            self.stop_when.ask_for(len(self.begun()) + len(failed))
        return len(failed)

    def params(self, trial: Any, sampling: Sampling) -> dict[str, Any]:
        """The trial's parameters: stored in it, queued with it, or suggested now.

        A sampler that suggests parameters jointly does so first; each parameter that is left is
        then drawn from a random generator of its own.
        """
        number = trial.number
        system_attrs = self.storage.get_trial_system_attrs(self.trial_id(number))
        queued_params = system_attrs.get("fixed_params", {})
        assigned = {**queued_params, **trial.params}
        if not queued_params and any(path not in assigned for path in self._stage.active(assigned)):
            trial.relative_params  # noqa: B018

        def reseed(path: str) -> None:
            if path not in assigned:
                self.study.sampler = sampling.make(number, path)

        return dict(suggest(trial, self._stage, reseed))

    def _listed_points(self) -> list[tuple[dict[str, Value], str]]:
        """Points to try after the default and where each comes from, in their order."""
        warm_start = f"warm start: {self._warm.get('source')}"
        points = [
            *((point, "point") for point in self._stage.sweep.points),
            *((point, warm_start) for point in self._warm.get("points", [])),
            *(
                ({FIELD: prior["rate"]}, f"prior: {prior['source']}")
                for prior in self._priors.get("points", [])
            ),
        ]
        grid = [] if self._grid is None else self._grid.points
        return [
            *((whole(self._stage, point), origin) for point, origin in points),
            *((point, "sampler") for point in grid),
        ]

    def _untried(self) -> list[tuple[dict[str, Value], str]]:
        """Points of the recipe, a warm start, priors and a grid that no trial has yet."""
        tried = {key(trial.system_attrs.get("fixed_params", trial.params)) for trial in self._own()}
        untried: dict[Any, tuple[dict[str, Value], str]] = {}
        for point, origin in self._points:
            if key(point) not in tried:
                untried.setdefault(key(point), (point, origin))
        return list(untried.values())

    def _all(self) -> list[Any]:
        if self._trials is None:
            self._trials = list(self.study.get_trials(deepcopy=False))
        return self._trials

    def _own(self) -> list[Any]:
        return [trial for trial in self._all() if is_own(trial)]

    def _open(self, settings: Settings, database: Database, name: str) -> Any:
        study = self._load(name)
        if study is not None:
            check_direction(study, self._stage)
            check_spaces(name, study.get_trials(deepcopy=False), self._stage.space())
        self._warm = {} if study is None else study.user_attrs.get(WARM, {})
        has_begun = study is not None and any(
            is_own(trial) and trial.state != TrialState.WAITING
            for trial in study.get_trials(deepcopy=False)
        )
        takes_warm_start = (
            self._stage.sweep.warm_start is not None and not has_begun and not self._warm
        )
        if takes_warm_start:
            self._warm = lesson(settings, database, name, self._stage).plain()
        if study is None:
            study = optuna.create_study(
                storage=self.storage,
                study_name=name,
                direction=direction_of(self._stage),
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(),
                pruner=optuna.pruners.NopPruner(),
            )
        if not study.get_trials(deepcopy=False):
            # Before its first trial, so that a study has all of its priors, or none.
            self._take_priors(settings, database, study)
            study.enqueue_trial(self._stage.defaults(), user_attrs={ORIGIN: "default"})
        self._priors = study.user_attrs.get(PRIORS, {})
        if takes_warm_start:
            study.set_user_attr(WARM, self._warm)
        if not has_begun:
            self._teach(study)
        return study

    def _take_priors(self, settings: Settings, database: Database, study: Any) -> None:
        if self._grid is not None or self._warm.get("trials"):
            return  # a grid tries every point, and the warm start's trials teach the sampler
        taken = len(self._warm.get("points", []))
        priors = begin_with(settings, database, study.study_name, self._stage, taken)
        if priors:
            study.set_user_attr(PRIORS, priors)

    def _load(self, name: str) -> Any:
        try:
            return optuna.load_study(
                storage=self.storage,
                study_name=name,
                sampler=optuna.samplers.RandomSampler(),
                pruner=optuna.pruners.NopPruner(),
            )
        except KeyError:
            return None

    def _teach(self, study: Any) -> None:
        """Add the warm start's trials to the study, as complete trials."""
        already_added = sum(not is_own(trial) for trial in study.get_trials(deepcopy=False))
        spaces = self._stage.space()
        for trial in self._warm.get("trials", [])[already_added:]:
            frozen = optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                value=trial["objective"],
                params=trial["params"],
                distributions={path: distribution(spaces[path]) for path in trial["params"]},
                user_attrs={FROM: self._warm["source"]},
            )
            if trial["violation"] is not None:
                constrain(frozen, {"violation": trial["violation"]})
            study.add_trial(frozen)

    def _note(self) -> None:
        if self._warm:
            self.notes.append(self._warm["note"])
        if note := self._priors.get("note"):
            self.notes.append(note)
        if self._grid is not None and self.wanted < self._stage.sweep.trials:
            self.notes.append(
                f"the grid has {self.wanted} points, fewer than sweep.trials "
                f"({self._stage.sweep.trials}): each is tried once"
            )
