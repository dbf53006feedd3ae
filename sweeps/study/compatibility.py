"""What a study on the database says against a recipe, told before anything is spent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from optuna.distributions import check_distribution_compatibility

from align.recipe import Space, StageConfig
from sweeps.errors import SweepError
from sweeps.study.distributions import distribution, words

_FRESH = "start anew with --fresh, or give the recipe its old"


def direction_of(stage: StageConfig) -> Literal["minimize", "maximize"]:
    """Optuna's word for where the objective is to go."""
    return "minimize" if stage.minimised else "maximize"


def check_direction(study: Any, stage: StageConfig) -> None:
    """SweepError if the study has another direction, or several objectives."""
    found = [one.name.lower() for one in study.directions]
    wanted = direction_of(stage)
    if len(found) > 1:
        raise SweepError(
            f"study {study.study_name} exists and has {len(found)} objectives; a sweep has one. "
            "It was not made by Alignery: start anew with --fresh"
        )
    if found != [wanted]:
        raise SweepError(
            f"study {study.study_name} exists and is to {found[0]}, but objective "
            f"'{stage.objective}' is to {wanted}; {_FRESH} objective"
        )


def check_spaces(study: str, trials: Iterable[Any], spaces: Mapping[str, Space]) -> None:
    """SweepError if trials of the study hold values that the recipe's spaces cannot.

    Bounds may have moved: Optuna learns from what lies outside as well.
    """
    wanted = {path: distribution(space) for path, space in spaces.items()}
    for trial in trials:
        for path, old in trial.distributions.items():
            _check(study, trial.number, path, old, wanted)


def _check(study: str, number: int, path: str, old: Any, wanted: Mapping[str, Any]) -> None:
    if path not in wanted:
        raise SweepError(
            f"{path}: trial {number} of study {study} searched it over {words(old)}, and the "
            f"recipe searches {', '.join(wanted) or 'nothing'}; {_FRESH} space"
        )
    try:
        check_distribution_compatibility(old, wanted[path])
    except ValueError:
        raise SweepError(
            f"{path}: trial {number} of study {study} has it from {words(old)}, and the recipe "
            f"searches {words(wanted[path])}; {_FRESH} space"
        ) from None
