"""Pruning: the pruner that ends poor trials at the recipe's rungs, ours or one of Optuna's.

The pruner `paired` is Alignery's own: see `sweeps.study.paired_pruning`.

A recipe's rungs are optimizer steps. Successive halving and Hyperband decide at resources 1, f,
f², …, so the i-th rung is reported to them as f^i, and each rung of the recipe is one decision.
Other pruners get the optimizer step, which is the unit of `n_warmup_steps`.

An Optuna pruner writes notes (`completed_rung_<k>`) to the trial as it decides, and if asked again
it would decide otherwise. So decisions and notes are separate here: the study session stores the
decision first, and notes that a killed driver did not write are written by the next driver. A new
pruner is made for each decision, since Hyperband has internal state.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna

from align.recipe import StageConfig, SweepConfig
from align.space.optuna_names import PAIRED, PRUNERS, class_name
from sweeps.errors import SweepError
from sweeps.study.options import build, check_options, check_packages, nested, signature
from sweeps.study.paired_pruning import PairedOptions, RungResult, passing

_FIELD = "sweep.pruner_options"
_HALVING = ("SuccessiveHalvingPruner", "HyperbandPruner")
#: What a patient pruner may wrap.
_OPTUNAS = {name: kind for name, kind in PRUNERS.items() if name != PAIRED}
_PACKAGES = {"WilcoxonPruner": ("scipy",)}

_DECIDED = {
    "min_resource": "rungs are sweep.rungs",
    "max_resource": "rungs are sweep.rungs",
    "reduction_factor": "it is sweep.reduction_factor",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a trial continues, and the notes that the pruner wants stored in it."""

    goes_on: bool
    notes: dict[str, Any] = field(default_factory=dict)


class Pruning:
    """The pruner of one stage's trials and its options."""

    def __init__(self, stage: StageConfig) -> None:
        """Check pruner and options. SweepError says what is wrong and what is allowed."""
        self._sweep = stage.sweep
        self.paired = _paired(stage.sweep) if stage.sweep.pruner == PAIRED else None
        if self.paired is not None:
            return
        self._kind, self._options = _chosen(
            "sweep.pruner", stage.sweep.pruner, stage.sweep.pruner_options
        )
        self._halves = any(name in _HALVING for name in self._classes())
        self.make()
        self._check_rungs()

    def passing(self, results: Mapping[int, RungResult], minimised: bool) -> frozenset[int]:
        """The trials that pass a rung by the pruner `paired`; `minimised` is of the rung metric."""
        assert self.paired is not None  # the caller has checked
        return passing(results, minimised, len(self._sweep.rungs), self.paired)

    def resource(self, index: int, step: int) -> int:
        """The pruner's resource for the rung `index` (0, 1, …) at optimizer step `step`."""
        return int(self._sweep.reduction_factor**index) if self._halves else step

    def judge(self, study: str, storage: Any, trial: Any) -> Verdict:
        """The decision on a FrozenTrial of `study` whose newest value is reported.

        Reads `storage`, Optuna's, and writes nothing.
        """
        notes: Any = _Notes(storage)  # Optuna accepts any object with a storage's methods
        pruner, sampler = self.make(), optuna.samplers.RandomSampler()
        reader = optuna.load_study(study_name=study, storage=notes, sampler=sampler, pruner=pruner)
        with warnings.catch_warnings():  # for percentiles of infinities, and from Wilcoxon
            warnings.simplefilter("ignore")
            pruned = bool(pruner.prune(reader, trial))
        return Verdict(not pruned, notes.kept)

    def make(self) -> Any:
        """A new pruner without internal state."""
        return _make(self._sweep, self._kind, self._options)

    def _classes(self) -> list[str]:
        """Names of the pruner's class and of the classes of the pruners that it wraps."""
        names, options, kind = [self._kind.__name__], self._options, self._kind
        while (inner := options.get("wrapped_pruner")) is not None:
            kind, options = _inner(inner)
            names.append(kind.__name__)
        return names

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
    """A storage that collects the pruner's notes instead of writing them to trials."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.kept: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_system_attr(self, _trial: int, key: str, value: Any) -> None:
        self.kept[key] = value


def _chosen(path: str, name: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    try:
        kind = getattr(optuna.pruners, class_name(name, _OPTUNAS))
    except ValueError as error:
        raise SweepError(f"{path}: {error}") from None
    check_options(_FIELD, name, kind, options, _DECIDED)
    check_packages(path, name, _PACKAGES.get(kind.__name__, ()))
    return kind, dict(options)


def _paired(sweep: SweepConfig) -> PairedOptions:
    check_options(_FIELD, PAIRED, PairedOptions, sweep.pruner_options, {})
    options: PairedOptions = build(_FIELD, PairedOptions, **sweep.pruner_options)
    return options


def _inner(value: Any) -> tuple[Any, dict[str, Any]]:
    """The pruner that a patient pruner wraps, from its name or `{name: {option: value}}`."""
    path = f"{_FIELD}.wrapped_pruner"
    if isinstance(value, str):
        return _chosen(path, value, {})
    if len(value) == 1 and isinstance(options := next(iter(value.values())), dict):
        return _chosen(path, next(iter(value)), options)
    raise SweepError(f"{path}: expected a pruner's name or {{name: {{options}}}}; got {value!r}")


def _make(sweep: SweepConfig, kind: Any, options: dict[str, Any]) -> Any:
    factor, rungs = sweep.reduction_factor, len(sweep.rungs)
    name, annotations = kind.__name__, signature(kind)
    arguments: dict[str, Any] = {}
    if name == "SuccessiveHalvingPruner":
        arguments = {"min_resource": 1, "reduction_factor": factor}
    elif name == "HyperbandPruner":
        # The last step is resource f^rungs, so there are rungs + 1 brackets. The maximum is larger
        # by 1, as Optuna's logarithm may be slightly below a whole number.
        arguments = {
            "min_resource": 1,
            "max_resource": factor**rungs + 1,
            "reduction_factor": factor,
        }
    elif "n_startup_trials" in annotations:
        # Optuna's default waits for 5 trials, which may be all of a small sweep.
        arguments = {"n_startup_trials": min(5, max(1, sweep.trials // 4))}
    if name == "PatientPruner":
        arguments["wrapped_pruner"] = None
    arguments |= options
    for option, annotation in annotations.items():
        if nested(annotation) and arguments.get(option) is not None:
            arguments[option] = _make(sweep, *_inner(arguments[option]))
    return build(_FIELD, kind, **arguments)
