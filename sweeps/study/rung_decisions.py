"""Decisions on trials at rungs: alone as each arrives, or together once all have arrived.

In a synchronous bracket a trial waits at a rung until every trial that is to run has reached it or
has ended. So all trials can be ranked after the first rung of each, before any goes on, and the
order in which they arrive changes nothing. Only the first trials of a search wait for each other,
as many as are drawn before the sampler learns; what it suggests afterwards is decided as it
arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from optuna.trial import TrialState

from align.recipe import StageConfig
from align.recipe.metric_schedule import rung_metric, rung_minimised
from align.space.optuna_names import SAMPLERS, class_name
from sweeps.study.constraints import told
from sweeps.study.paired_pruning import RungResult
from sweeps.study.pruners import Pruning, Verdict
from sweeps.study.samplers import startup_trials
from sweeps.trials import DECIDED, PRUNED, VALUES, Milestone, measured

#: Optuna's samplers that do not learn from earlier trials.
_WITHOUT_MODEL = ("RandomSampler", "QMCSampler", "GridSampler", "BruteForceSampler")


def bracket_size(stage: StageConfig, wanted: int) -> int:
    """How many of the first trials wait for each other; 0 for an asynchronous bracket.

    A sampler without a model, or whose model is used by no more than half of the trials, suggests
    all trials at once, unless `stop_when` may end the search before they are needed.
    """
    sweep = stage.sweep
    if not sweep.synchronous or not sweep.rungs:
        return 0
    # By the recipe's number of trials: repeats of failed trials leave the bracket as it is.
    random_share = 2 * max(4, startup_trials(sweep))
    learns = (
        class_name(sweep.sampler, SAMPLERS) not in _WITHOUT_MODEL and sweep.trials > random_share
    )
    in_parts = learns or sweep.stop_when is not None
    return max(4, startup_trials(sweep), len(sweep.points) + 1) if in_parts else wanted


def waiting_at(trial: Any, rungs: Sequence[int]) -> int | None:
    """The rung at which a RUNNING FrozenTrial was measured and not decided yet; None if it runs.

    A trial that was measured at its last step, and whose driver was killed then, waits for nobody.
    """
    newest = max(measured(trial), default=0)
    undecided = newest in rungs and newest > int(trial.user_attrs.get(DECIDED, 0))
    return newest if trial.state == TrialState.RUNNING and undecided else None


def due(trials: Sequence[Any], size: int, wanted: int, rungs: Sequence[int]) -> list[Any]:
    """The waiting trials that can be decided now: those at the lowest rung, if all have reached it.

    `trials` are the begun FrozenTrials by number, `size` is the bracket's, `wanted` how many trials
    there are to be.
    """
    members = trials[:size]
    waiting = [(step, trial) for trial in members if (step := waiting_at(trial, rungs)) is not None]
    if not waiting or len(members) < min(size, wanted):
        return []
    lowest = min(step for step, _ in waiting)
    running = (trial for trial in members if trial.state == TrialState.RUNNING)
    if any(max(measured(trial), default=0) < lowest for trial in running):
        return []
    return [trial for step, trial in waiting if step == lowest]


def by_promise(trials: Iterable[Any], minimised: bool) -> list[Any]:
    """Trials without a worker in the order in which they go on: the furthest behind first.

    At the same rung the best goes first.
    """
    sign = 1.0 if minimised else -1.0

    def order(trial: Any) -> tuple[int, float, int]:
        steps = measured(trial)
        newest = max(steps, default=0)
        metrics = steps.get(newest, {})
        value = metrics.get("rung", metrics.get("objective", 0.0))
        return newest, sign * value, trial.number

    return sorted(trials, key=order)


class RungDecisions:
    """Decides by the stage's pruner; reads Optuna's storage and writes only what it reports."""

    def __init__(self, stage: StageConfig, study: str) -> None:
        """Check the pruner. SweepError says what is wrong and what is allowed."""
        self._stage, self._study = stage, study
        self._pruning = Pruning(stage)
        metric = rung_metric(stage)
        self.minimised = stage.minimised if metric is None else rung_minimised(metric)

    def decide(self, trial: Any, milestone: Milestone, begun: Iterable[Any]) -> Verdict:
        """Whether Optuna's trial passes the rung of a milestone. Reports its value to Optuna.

        `begun` are the FrozenTrials of the search; the milestones of all are stored in them.
        """
        index, step = milestone.index, milestone.step
        resource = step if self.paired else self._pruning.resource(index, step)
        value = milestone.decisive
        if self.minimised != self._stage.minimised:
            value = -value  # Optuna knows the direction of the objective alone
        reported = told(value, milestone.metrics, self._stage.minimised)
        trial_id = self._trial_id(trial)
        trial.storage.set_trial_intermediate_value(trial_id, resource, reported)
        if self.paired:
            return Verdict(trial.number in self._passing(step, begun))
        return self._pruning.judge(self._study, trial.storage, trial.storage.get_trial(trial_id))

    def store(self, trial: Any, verdict: Verdict) -> None:
        """Write the pruner's notes to Optuna's trial."""
        for key, note in verdict.notes.items():
            trial.storage.set_trial_system_attr(self._trial_id(trial), key, note)

    def is_decided(self, trial: Any) -> bool:
        """Whether the newest milestone of a RUNNING FrozenTrial was decided on."""
        if self.paired:
            return PRUNED in trial.user_attrs
        step = int(trial.user_attrs.get(PRUNED, trial.user_attrs.get(DECIDED, 0)))
        decided = sum(rung <= step for rung in measured(trial))
        return 0 < decided >= len(trial.intermediate_values)

    def write_notes(self, live_trial: Any, trial: Any) -> None:
        """Write the notes of a decision that was stored without them, of a FrozenTrial."""
        if not self.paired:
            self.store(live_trial, self._pruning.judge(self._study, live_trial.storage, trial))

    def _trial_id(self, trial: Any) -> int:
        storage = trial.storage
        study_id = storage.get_study_id_from_name(self._study)
        return int(storage.get_trial_id_from_study_id_trial_number(study_id, trial.number))

    @property
    def paired(self) -> bool:
        """Whether the pruner compares trials item by item, and so writes no notes."""
        return self._pruning.paired is not None

    def _passing(self, step: int, begun: Iterable[Any]) -> frozenset[int]:
        results = {
            trial.number: RungResult(
                trial.user_attrs.get(f"{VALUES}{step}", {}),
                measured(trial)[step].get("violation", 0.0) <= 0,
            )
            for trial in begun
            if step in measured(trial) and trial.state != TrialState.FAIL
        }
        return self._pruning.passing(results, self.minimised)
