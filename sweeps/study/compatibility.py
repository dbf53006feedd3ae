"""Checks that an existing study on the database is compatible with a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from optuna.distributions import check_distribution_compatibility

from align.recipe import Space, StageConfig
from sweeps.errors import SweepError
from sweeps.study.distributions import distribution, words

_FRESH = "start anew with --fresh, or give the recipe its old"


def direction_of(stage: StageConfig) -> Literal["minimize", "maximize"]:
    """Optuna's name for the direction of the stage's objective."""
    return "minimize" if stage.minimised else "maximize"


def check_direction(study: Any, stage: StageConfig) -> None:
    """SweepError if the study has another direction, or several objectives."""
    directions = [direction.name.lower() for direction in study.directions]
    expected = direction_of(stage)
    if len(directions) > 1:
        raise SweepError(
            f"study {study.study_name} exists and has {len(directions)} objectives; a sweep has "
            "one. It was not made by Alignery: start anew with --fresh"
        )
    if directions != [expected]:
        raise SweepError(
            f"study {study.study_name} exists and is to {directions[0]}, but objective "
            f"'{stage.objective}' is to {expected}; {_FRESH} objective"
        )


def check_spaces(study: str, trials: Iterable[Any], spaces: Mapping[str, Space]) -> None:
    """SweepError if a trial has a parameter that the recipe does not search, or with another space.

    Bounds may have changed: Optuna also learns from values outside of them.
    """
    distributions = {path: distribution(space) for path, space in spaces.items()}
    for trial in trials:
        for path, stored in trial.distributions.items():
            _check(study, trial.number, path, stored, distributions)


def _check(
    study: str, number: int, path: str, stored: Any, distributions: Mapping[str, Any]
) -> None:
    if path not in distributions:
        raise SweepError(
            f"{path}: trial {number} of study {study} searched it over {words(stored)}, and the "
            f"recipe searches {', '.join(distributions) or 'nothing'}; {_FRESH} space"
        )
    try:
        check_distribution_compatibility(stored, distributions[path])
    except ValueError:
        raise SweepError(
            f"{path}: trial {number} of study {study} has it from {words(stored)}, and the recipe "
            f"searches {words(distributions[path])}; {_FRESH} space"
        ) from None
