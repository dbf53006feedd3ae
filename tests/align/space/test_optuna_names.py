"""What a recipe says of the search itself: samplers, pruners, and how a sweep is kept."""

import re
from typing import Any

import pytest

from align.errors import RecipeError
from align.recipe import SweepConfig, parse_recipe
from align.space.optuna_names import PRUNERS, SAMPLERS, class_name


def sweep(**fields: Any) -> SweepConfig:
    stage = {
        "method": "sft",
        "learning_rate": {"loguniform": [1e-4, 1e-2]},
        "max_steps": 10,
        "objective": "nll",
        "sweep": fields,
    }
    data = {"task": "arithmetic"}
    raw = {"name": "tiny", "base": "tiny-random", "data": data, "stages": {"sft": stage}}
    return parse_recipe(raw).stages["sft"].sweep


def test_names_are_those_of_the_installed_optuna() -> None:
    import optuna

    samplers, pruners = set(optuna.samplers.__all__), set(optuna.pruners.__all__)
    abstract = {"BaseSampler", "BaseGASampler", "BasePruner", "nsgaii"}
    assert set(SAMPLERS.values()) == samplers - abstract
    assert set(PRUNERS.values()) == pruners - abstract


def test_short_names_and_classes_are_taken() -> None:
    assert sweep(sampler="cmaes", pruner="hyperband").sampler == "cmaes"
    assert sweep(sampler="CmaEsSampler", pruner="NopPruner").pruner == "NopPruner"
    assert class_name("tpe", SAMPLERS) == class_name("TPESampler", SAMPLERS) == "TPESampler"
    options = sweep(sampler_options={"n_ei_candidates": 40}, pruner_options={"n_min_trials": 3})
    assert options.sampler_options == {"n_ei_candidates": 40}


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"sampler": "tpa"},
        "sweep.sampler: did you mean 'tpe'. allowed: tpe, random, gp, .*got 'tpa'",
    ),
    ({"sampler": "tpesampler"}, "did you mean 'TPESampler'"),
    ({"pruner": "hyperbant"}, "sweep.pruner: did you mean 'hyperband'"),
    ({"pruner": "asha"}, "sweep.pruner: allowed: successive_halving, hyperband"),
    ({"retries": -1}, "sweep.retries: "),
    ({"finalists": -1}, "sweep.finalists: "),
    ({"startup_trials": -1}, "sweep.startup_trials: "),
    ({"keep_checkpoints": "some"}, "sweep.keep_checkpoints: .*'best'.*got 'some'"),
    ({"warm_start": "my study"}, "sweep.warm_start: expected <recipe>/<stage>"),
    ({"sampler_options": [1]}, "sweep.sampler_options: "),
    ({"points": {"learning_rate": 1e-3}}, "sweep.points: "),
    ({"samplers": "tpe"}, "unknown field .*; did you mean 'sampler'"),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_a_wrong_search_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        sweep(**given)
    assert re.search(message, str(caught.value))


@pytest.mark.parametrize("name", ["arithmetic/sft", "arithmetic/sft:3", "arithmetic/sft/3-0a1b2c"])
def test_an_earlier_search_is_named_by_line_run_or_study(name: str) -> None:
    assert sweep(warm_start=name).warm_start == name
