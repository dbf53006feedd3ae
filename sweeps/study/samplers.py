"""Which of Optuna's samplers finds a sweep's points, made anew for each of them.

What is suggested for trial n depends on the sweep's seed, n and the history, never on what an
object remembered: a study that goes on after its driver was killed is the unbroken one. CMA-ES
keeps its state in the trials and NSGA-II/III in trials and study, so they lose nothing by it; the
GP only loses the kernel parameters that its next fit would have started from. QMC counts its
points in the study: a driver killed in the very moment of asking skips one point of the sequence.
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
#: These two call `Study.stop`, which Optuna allows in `optimize` alone, and walk over the default
#: and the user's points a second time: the bridge walks the grid itself.
_WALKED = ("GridSampler", "BruteForceSampler")
#: One sequence for all trials: another seed would be another sequence.
_SEQUENCES = ("QMCSampler",)

_DECIDED = {
    "seed": "the seed of a search is sweep.seed",
    "constraints_func": "constraints are the stage's field `constraints`",
    "warn_independent_sampling": "warnings of Optuna's are off",
    "warn_asynchronous_seeding": "warnings of Optuna's are off",
    "avoid_premature_stop": "every point is tried once",
}


class Sampling:
    """How the points of one stage's search are found."""

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
        """The sampler for trial `number`, or for one field of it."""
        alike = self._kind.__name__ in _SEQUENCES
        own = seed_of(self._seed, number, path)
        return _make(self._kind, self._options, seed_of(self._seed) if alike else own, own)

    def _walk(self, stage: StageConfig) -> None:
        lists = "search_space" in signature(self._kind)
        check_options(_FIELD, self._name, self._kind, self._options, _DECIDED)
        if stage.sweep.startup_trials is not None:
            raise SweepError(_no_startup(self._name))
        given = self._options.get("search_space", {}) if lists else {}
        self.grid = Grid(stage, given, seed_of(self._seed))


def seed_of(seed: int, *what: object) -> int:
    """A seed from 0 to 2^32 - 1 that depends on all of it."""
    text = "/".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def startup_trials(sweep: SweepConfig) -> int:
    """Trials that are drawn at random before a model has a say: a third, from 2 to 10.

    Optuna's default of 10 is a whole small sweep. `sweep.startup_trials` says otherwise.
    """
    given = sweep.startup_trials
    return min(10, max(2, sweep.trials // 3)) if given is None else given


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
            inner, more = _inner(options[option])
            if inner.__name__ in _WALKED:
                raise SweepError(f"{_FIELD}.{option}: {inner.__name__} can only stand alone")
            _check(inner.__name__, inner, more)


def _inner(value: Any) -> tuple[Any, dict[str, Any]]:
    """A sampler within another: its name, or `{name: {option: value}}`."""
    if isinstance(value, str):
        return _kind(value), {}
    if len(value) == 1 and isinstance(options := next(iter(value.values())), dict):
        return _kind(next(iter(value))), options
    raise SweepError(f"{_FIELD}: a sampler within is a name or {{name: {{options}}}}; got {value}")


def _defaults(kind: Any, sweep: SweepConfig, conditional: bool) -> dict[str, Any]:
    takes = signature(kind)
    found: dict[str, Any] = {}
    if "constant_liar" in takes:
        found["constant_liar"] = True
    if "group" in takes and conditional:
        found.update(multivariate=True, group=True)
    if kind.__name__ in ("GPSampler", "QMCSampler", "CmaEsSampler"):
        found["warn_independent_sampling"] = False
    if "population_size" in takes:
        # Optuna's 50 makes a random search of a sweep of fifty trials.
        found["population_size"] = min(50, max(4, sweep.trials // 4))
    if kind.__name__ in ("TPESampler", "GPSampler"):
        found["n_startup_trials"] = startup_trials(sweep)
    if sweep.startup_trials is not None:
        if "n_startup_trials" not in takes:
            raise SweepError(_no_startup(sweep.sampler))
        if "n_startup_trials" in sweep.sampler_options:
            raise SweepError(
                f"{_FIELD}.n_startup_trials and sweep.startup_trials say the same; keep one"
            )
        found["n_startup_trials"] = sweep.startup_trials
    return found


def _no_startup(name: str) -> str:
    return (
        f"sweep.startup_trials: sampler {name} has no random start; "
        "take the field out, or use tpe, gp or cmaes"
    )


def _make(kind: Any, options: dict[str, Any], seed: int, inner_seed: int) -> Any:
    takes = signature(kind)
    arguments = dict(options)
    for option, value in options.items():
        part = nested(takes[option])
        if part == "BaseSampler":
            inner, more = _inner(value)
            arguments[option] = _make(inner, more, inner_seed, inner_seed)
        elif part:
            arguments[option] = _operator(option, part, value)
    if "independent_sampler" in takes and "independent_sampler" not in options:
        arguments["independent_sampler"] = optuna.samplers.RandomSampler(seed=inner_seed)
    if "seed" in takes:
        arguments["seed"] = seed
    return build(_FIELD, kind, **arguments)


def _operator(option: str, base: str, value: Any) -> Any:
    """An operator of the genetic samplers, by the name of its class."""
    family = getattr(optuna.samplers.nsgaii, base)
    known = {
        name: one
        for name, one in vars(optuna.samplers.nsgaii).items()
        if inspect.isclass(one) and issubclass(one, family) and one is not family
    }
    if not isinstance(value, str) or value not in known:
        raise SweepError(f"{_FIELD}.{option}: allowed: {', '.join(known)}; got {value!r}")
    return build(f"{_FIELD}.{option}", known[value])
