"""Priors: learning rates with which a search begins, from this installation and publications.

They are chosen once, when a study is created, and stored in it; so a driver that continues the
study tries the same points, whatever other searches have ended meanwhile. A study without them,
such as those of earlier versions, gets none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from align.errors import ModelError
from align.memory.shape import read_shape
from align.recipe import Recipe, StageConfig
from align.sources import on_hub
from align.space import Choice, Interval
from align.space.spaces import Space, scalar
from cluster.database import Database
from cluster.database.tables import Sweep
from cluster.settings import Settings
from sweeps.study.published_rates import Prior, published_rates
from sweeps.study.storage import read_trials
from sweeps.study.warm_start import earlier_searches, stored_recipe
from sweeps.sweep_store import FINISHED
from sweeps.trials import ranked

FIELD = "learning_rate"

#: The most points that a search takes, and the share of its trials that they may be.
MOST, SHARE = 4, 3
#: Rates within this factor count as the same; a rate that is this near a bound moves to the bound.
NEAR = 1.5
#: The newest searches of the same base and method that are read.
SEARCHES = 10


def begin_with(
    settings: Settings, database: Database, study: str, stage: StageConfig, taken: int
) -> dict[str, Any]:
    """`points` (rate and source of each) and `note` of a new study, as JSON.

    `taken` points of a warm start come first and count against the number of points. Empty if
    priors are off, if the learning rate is not searched, or if the recipe of the study is unknown.
    """
    if stage.sweep.priors == "none" or FIELD not in stage.defaults():
        return {}
    rows = earlier_searches(database)
    own = next((row for row in rows if row.study == study), None)
    recipe = None if own is None else stored_recipe(own)
    if own is None or recipe is None:
        return {}
    most = min(MOST, stage.sweep.trials // SHARE) - taken
    if most < 1:
        return {}
    known = [
        *_own_priors(settings, rows, own, recipe, stage.method),
        *_published(recipe, own.stage, stage),
    ]
    if not known:
        note = f"priors: none is known for {stage.method} on {recipe.base}"
        return {"points": [], "note": note}
    tried = [point.get(FIELD, stage.defaults()[FIELD]) for point in ({}, *stage.sweep.points)]
    chosen = choose(stage.space()[FIELD], [float(rate) for rate in tried], known, most)
    points = [{"rate": prior.rate, "source": prior.source} for prior in chosen]
    return {"points": points, "note": _note(chosen)}


def choose(
    space: Space, tried: Sequence[float], known: Iterable[Prior], most: int
) -> tuple[Prior, ...]:
    """At most `most` priors in order, as values of the learning rate's space.

    Priors that lie outside it are dropped, and those within a factor of `NEAR` of a rate that is
    tried already.
    """
    chosen: list[Prior] = []
    for prior in known:
        rate = _in_space(space, prior.rate)
        others = [*tried, *(other.rate for other in chosen)]
        if rate is not None and not any(_near(rate, other) for other in others):
            chosen.append(Prior(rate, prior.source))
    return tuple(chosen[:most])


def _in_space(space: Space, rate: float) -> float | None:
    """The nearest value of the space; None if none is near."""
    if isinstance(space, Choice):
        values = [float(value) for value in space.values if isinstance(value, int | float)]
        nearest = min(
            (value for value in values if value > 0),
            key=lambda value: abs(math.log(value / rate)),
            default=None,
        )
    elif isinstance(space, Interval):
        nearest = min(max(rate, float(space.low)), float(space.high))
    else:
        return None
    if nearest is None or not (nearest == rate or _near(nearest, rate)):
        return None
    return nearest if space.contains(nearest) else None


def _near(rate: float, other: float) -> bool:
    return min(rate, other) > 0 and max(rate, other) / min(rate, other) < NEAR


def _note(chosen: Sequence[Prior]) -> str:
    if not chosen:
        return ""
    rates = ", ".join(f"{prior.rate:.2g} ({prior.source})" for prior in chosen)
    return f"priors: {FIELD} {rates}; `priors: none` in `sweep` tries none"


def _own_priors(
    settings: Settings, rows: list[Sweep], own: Sweep, recipe: Recipe, method: str
) -> Iterator[Prior]:
    """The best rates of this installation's finished searches, those of the same line first."""
    others: list[tuple[Sweep, Recipe]] = []
    for row in reversed(rows):
        if row.study == own.study or row.state != FINISHED or row.recipe.get("base") != recipe.base:
            continue
        earlier = stored_recipe(row)
        if earlier is not None and earlier.stages[row.stage].method == method:
            others.append((row, earlier))
    nearest = sorted(
        others,
        key=lambda other: (
            other[0].line != own.line,
            other[1].data_of(other[0].stage) != recipe.data_of(own.stage),
        ),
    )
    for row, earlier in nearest[:SEARCHES]:
        config = earlier.stages[row.stage]
        for trial in ranked(read_trials(settings, row.study), config.minimised)[:1]:
            rate = scalar(config.resolve(trial.params).value(FIELD))
            if isinstance(rate, int | float) and rate > 0:
                yield Prior(float(rate), f"{row.line}:{row.run}")


def _published(recipe: Recipe, name: str, stage: StageConfig) -> tuple[Prior, ...]:
    defaults = stage.defaults()
    rank = scalar(stage.resolve(defaults).value("lora.r"))
    return published_rates().priors(
        stage.method,
        parameters_of(recipe.base),
        int(rank) if isinstance(rank, int | float) else 1,
        recipe.steps(name, defaults),
    )


def parameters_of(base: str) -> int | None:
    """Number of a base's parameters, without asking the hub; None if its files do not say."""
    try:
        config = None
        if on_hub(base):
            from huggingface_hub import try_to_load_from_cache

            cached = try_to_load_from_cache(base, "config.json")
            if not isinstance(cached, str):
                return None
            config = Path(cached)
        return read_shape(base, config).parameters
    except (ModelError, ValueError):  # ValueError: not the form of a hub id
        return None
