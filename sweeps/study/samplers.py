"""Sampling: the Optuna sampler that suggests a sweep's points, made anew for each trial.

The suggestion for trial n depends only on the sweep's seed, n and the history, not on the state of
an object. So a study that is continued after its driver was killed equals an uninterrupted study.
CMA-ES keeps its state in the trials and NSGA-II/III in trials and study, so they lose nothing; the
GP only loses the kernel parameters from which its next fit would have started. QMC counts its
points in the study: a driver that is killed while it asks skips one point of the sequence.
"""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import optuna

from align.recipe import StageConfig, SweepConfig
from align.space.optuna_names import SAMPLERS, class_name
from sweeps.errors import SweepError
from sweeps.study.grid import Grid
from sweeps.study.options import build, check_options, check_packages, nested, signature

_FIELD = "sweep.sampler_options"

#: Packages that Optuna imports only when such a sampler is used.
_PACKAGES = {
    "CmaEsSampler": ("cmaes",),
    "GPSampler": ("scipy", "torch"),
    "QMCSampler": ("scipy",),
}
#: These two call `Study.stop`, which Optuna allows only in `optimize`, and try the default and the
#: user's points a second time. So `sweeps.study.grid` takes their place.
_WALKED = ("GridSampler", "BruteForceSampler")
#: Samplers of one sequence for all trials: another seed would give another sequence.
_SEQUENCES = ("QMCSampler",)

_DECIDED = {
    "seed": "the seed of a search is sweep.seed",
    "constraints_func": "constraints are the stage's field `constraints`",
    "warn_independent_sampling": "warnings of Optuna's are off",
    "warn_asynchronous_seeding": "warnings of Optuna's are off",
    "avoid_premature_stop": "every point is tried once",
}


class Sampling:
    """The sampler of one stage's search and its options."""

    def __init__(self, stage: StageConfig) -> None:
        """Check sampler and options. SweepError says what is wrong and what is allowed."""
        sweep, spaces = stage.sweep, stage.space()
        self._seed = sweep.seed
        self._name = sweep.sampler
        self._kind = _kind(sweep.sampler)
        self._options = dict(sweep.sampler_options)
        self.grid: Grid | None = None
        if self._kind.__name__ in _WALKED:
            self._walk(stage)
            self._kind, self._options = optuna.samplers.RandomSampler, {}
            return
        _check(self._name, self._kind, self._options)
        conditional = any(space.when for space in spaces.values())
        self._options = {**_defaults(self._kind, sweep, conditional), **self._options}
        self.make(0)

    def make(self, number: int, path: str = "") -> Any:
        """A new sampler for trial `number`, or for its field `path`."""
        shared_seed = self._kind.__name__ in _SEQUENCES
        trial_seed = seed_of(self._seed, number, path)
        return _make(
            self._kind,
            self._options,
            seed_of(self._seed) if shared_seed else trial_seed,
            trial_seed,
        )

    def _walk(self, stage: StageConfig) -> None:
        takes_lists = "search_space" in signature(self._kind)
        check_options(_FIELD, self._name, self._kind, self._options, _DECIDED)
        if stage.sweep.startup_trials is not None:
            raise SweepError(_no_startup(self._name))
        search_space = self._options.get("search_space", {}) if takes_lists else {}
        self.grid = Grid(stage, search_space, seed_of(self._seed))


def seed_of(seed: int, *what: object) -> int:
    """A seed from 0 to 2^32 - 1, derived from `seed` and all of `what`."""
    text = "/".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def startup_trials(sweep: SweepConfig) -> int:
    """Trials drawn at random before the sampler's model is used: a third of all, from 2 to 10.

    Optuna's default of 10 may be all of a small sweep. `sweep.startup_trials` overrides this.
    """
    explicit = sweep.startup_trials
    return min(10, max(2, sweep.trials // 3)) if explicit is None else explicit


def _kind(name: str) -> Any:
    try:
        return getattr(optuna.samplers, class_name(name, SAMPLERS))
    except ValueError as error:
        raise SweepError(f"sweep.sampler: {error}") from None


def _check(name: str, kind: Any, options: dict[str, Any]) -> None:
    check_options(_FIELD, name, kind, options, _DECIDED)
    check_packages("sweep.sampler", name, _PACKAGES.get(kind.__name__, ()))
    for option, annotation in signature(kind).items():
        if nested(annotation) == "BaseSampler" and option in options:
            inner, inner_options = _inner(options[option])
            if inner.__name__ in _WALKED:
                raise SweepError(f"{_FIELD}.{option}: {inner.__name__} can only stand alone")
            _check(inner.__name__, inner, inner_options)


def _inner(value: Any) -> tuple[Any, dict[str, Any]]:
    """Class and options of a nested sampler, from its name or `{name: {option: value}}`."""
    if isinstance(value, str):
        return _kind(value), {}
    if len(value) == 1 and isinstance(options := next(iter(value.values())), dict):
        return _kind(next(iter(value))), options
    raise SweepError(f"{_FIELD}: a sampler within is a name or {{name: {{options}}}}; got {value}")


def _defaults(kind: Any, sweep: SweepConfig, conditional: bool) -> dict[str, Any]:
    annotations = signature(kind)
    defaults: dict[str, Any] = {}
    if "constant_liar" in annotations:
        defaults["constant_liar"] = True
    if "group" in annotations and conditional:
        defaults.update(multivariate=True, group=True)
    if kind.__name__ in ("GPSampler", "QMCSampler", "CmaEsSampler"):
        defaults["warn_independent_sampling"] = False
    if "population_size" in annotations:
        # With Optuna's default of 50, a sweep of fifty trials would be a random search.
        defaults["population_size"] = min(50, max(4, sweep.trials // 4))
    if kind.__name__ in ("TPESampler", "GPSampler"):
        defaults["n_startup_trials"] = startup_trials(sweep)
    if sweep.startup_trials is not None:
        if "n_startup_trials" not in annotations:
            raise SweepError(_no_startup(sweep.sampler))
        if "n_startup_trials" in sweep.sampler_options:
            raise SweepError(
                f"{_FIELD}.n_startup_trials and sweep.startup_trials say the same; keep one"
            )
        defaults["n_startup_trials"] = sweep.startup_trials
    return defaults


def _no_startup(name: str) -> str:
    return (
        f"sweep.startup_trials: sampler {name} has no random start; "
        "take the field out, or use tpe, gp or cmaes"
    )


def _make(kind: Any, options: dict[str, Any], seed: int, inner_seed: int) -> Any:
    annotations = signature(kind)
    arguments = dict(options)
    for option, value in options.items():
        base_class = nested(annotations[option])
        if base_class == "BaseSampler":
            inner, inner_options = _inner(value)
            arguments[option] = _make(inner, inner_options, inner_seed, inner_seed)
        elif base_class:
            arguments[option] = _operator(option, base_class, value)
    if "independent_sampler" in annotations and "independent_sampler" not in options:
        arguments["independent_sampler"] = optuna.samplers.RandomSampler(seed=inner_seed)
    if "seed" in annotations:
        arguments["seed"] = seed
    return build(_FIELD, kind, **arguments)


def _operator(option: str, base: str, value: Any) -> Any:
    """An operator of the genetic samplers (crossover, mutation), by the name of its class."""
    base_class = getattr(optuna.samplers.nsgaii, base)
    operators = {
        name: operator
        for name, operator in vars(optuna.samplers.nsgaii).items()
        if inspect.isclass(operator)
        and issubclass(operator, base_class)
        and operator is not base_class
    }
    if not isinstance(value, str) or value not in operators:
        raise SweepError(f"{_FIELD}.{option}: allowed: {', '.join(operators)}; got {value!r}")
    return build(f"{_FIELD}.{option}", operators[value])
