"""Which of Optuna's pruners ends poor trials at the recipe's rungs, and what it is told.

A recipe names optimizer steps. Successive halving and Hyperband know resources 1, f, f², … and
decide where one is reached, so the i-th rung is told to them as f^i and each rung of the recipe
is one decision. The others are told the optimizer step, which `n_warmup_steps` counts in.

An Optuna pruner keeps its notes (`completed_rung_<k>`) in the trial as it decides, and asked again
it would decide otherwise. Here a decision and its notes come apart: the bridge stores the decision
first, and what a killed driver had no time to note is noted by the next one. Pruners are made
anew for each decision, since Hyperband remembers.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from typing import Any

import optuna

from align.recipe import StageConfig, SweepConfig
from align.space.optuna_names import PRUNERS, class_name
from sweeps.errors import SweepError
from sweeps.study.options import build, check_options, check_packages, nested, signature

_FIELD = "sweep.pruner_options"
_HALVING = ("SuccessiveHalvingPruner", "HyperbandPruner")
_PACKAGES = {"WilcoxonPruner": ("scipy",)}

_DECIDED = {
    "min_resource": "rungs are sweep.rungs",
    "max_resource": "rungs are sweep.rungs",
    "reduction_factor": "it is sweep.reduction_factor",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a trial goes on, and what the pruner wants noted in it for those that follow."""

    goes_on: bool
    notes: dict[str, Any] = field(default_factory=dict)


class Pruning:
    """How the trials of one stage are pruned."""

    def __init__(self, stage: StageConfig) -> None:
        """Check pruner and options. SweepError says what is wrong and what is allowed."""
        self._sweep = stage.sweep
        self._kind, self._options = _chosen(
            "sweep.pruner", stage.sweep.pruner, stage.sweep.pruner_options
        )
        self._halves = any(one in _HALVING for one in self._classes())
        self.make()
        self._check_rungs()

    def resource(self, index: int, step: int) -> int:
        """What the rung `index` (0, 1, …) at optimizer step `step` is to the pruner."""
        return int(self._sweep.reduction_factor**index) if self._halves else step

    def judge(self, study: Any, trial: Any) -> Verdict:
        """Ask about a FrozenTrial with its newest value reported. Writes nothing."""
        notes = _Notes(study._storage)
        view = copy.copy(study)
        view._storage = notes
        with warnings.catch_warnings():  # percentiles of infinities, and Wilcoxon's remarks
            warnings.simplefilter("ignore")
            pruned = bool(self.make().prune(view, trial))
        return Verdict(not pruned, notes.kept)

    def make(self) -> Any:
        """The pruner, remembering nothing."""
        return _make(self._sweep, self._kind, self._options)

    def _classes(self) -> list[str]:
        """The class, and those of the pruners within it."""
        found, options, kind = [self._kind.__name__], self._options, self._kind
        while (inner := options.get("wrapped_pruner")) is not None:
            kind, options = _inner(inner)
            found.append(kind.__name__)
        return found

    def _check_rungs(self) -> None:
        """Refuse a pruner that could never prune with the recipe's rungs."""
        rungs, name = len(self._sweep.rungs), self._sweep.pruner
        if "WilcoxonPruner" in self._classes():
            threshold = float(self._options.get("p_threshold", 0.1))
            # The least p of a one-sided signed-rank test of n pairs is 2^-n.
            if 2.0**-rungs >= threshold:
                raise SweepError(
                    f"sweep.pruner: {name} cannot be sure to p < {threshold:g} with "
                    f"{rungs} rungs; it takes more rungs or a larger p_threshold"
                )
        if self._kind.__name__ == "PatientPruner":
            patience = int(self._options["patience"])
            if rungs < patience + 2:
                raise SweepError(
                    f"sweep.pruner: {name} with patience {patience} decides from the "
                    f"{patience + 2}. rung on; sweep.rungs has {rungs}"
                )


class _Notes:
    """A storage that keeps back what is noted in trials."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.kept: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_system_attr(self, _trial: int, key: str, value: Any) -> None:
        self.kept[key] = value


def _chosen(where: str, name: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    try:
        kind = getattr(optuna.pruners, class_name(name, PRUNERS))
    except ValueError as error:
        raise SweepError(f"{where}: {error}") from None
    check_options(_FIELD, name, kind, options, _DECIDED)
    check_packages(where, name, _PACKAGES.get(kind.__name__, ()))
    return kind, dict(options)


def _inner(value: Any) -> tuple[Any, dict[str, Any]]:
    """The pruner that a patient one wraps: its name, or `{name: {option: value}}`."""
    where = f"{_FIELD}.wrapped_pruner"
    if isinstance(value, str):
        return _chosen(where, value, {})
    if len(value) == 1 and isinstance(options := next(iter(value.values())), dict):
        return _chosen(where, next(iter(value)), options)
    raise SweepError(f"{where}: expected a pruner's name or {{name: {{options}}}}; got {value!r}")


def _make(sweep: SweepConfig, kind: Any, options: dict[str, Any]) -> Any:
    factor, rungs = sweep.reduction_factor, len(sweep.rungs)
    name, takes = kind.__name__, signature(kind)
    arguments: dict[str, Any] = {}
    if name == "SuccessiveHalvingPruner":
        arguments = {"min_resource": 1, "reduction_factor": factor}
    elif name == "HyperbandPruner":
        # The last step is resource f^rungs, so there are rungs + 1 brackets; one more, as Optuna's
        # logarithm may fall short of a whole number.
        arguments = {
            "min_resource": 1,
            "max_resource": factor**rungs + 1,
            "reduction_factor": factor,
        }
    elif "n_startup_trials" in takes:
        # Optuna's default waits for 5 trials, which is a whole small sweep.
        arguments = {"n_startup_trials": min(5, max(1, sweep.trials // 4))}
    if name == "PatientPruner":
        arguments["wrapped_pruner"] = None
    arguments |= options
    for option, annotation in takes.items():
        if nested(annotation) and arguments.get(option) is not None:
            arguments[option] = _make(sweep, *_inner(arguments[option]))
    return build(_FIELD, kind, **arguments)
