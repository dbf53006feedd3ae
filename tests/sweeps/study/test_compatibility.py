"""Whether a study that is there goes with a recipe."""

import optuna
import pytest

from sweeps.errors import SweepError
from sweeps.study.compatibility import check_direction, check_spaces, direction_of
from tests.sweeps.driving import stage_with

RATE = optuna.distributions.FloatDistribution(1e-6, 1e-2, log=True)
RANKS = optuna.distributions.CategoricalDistribution((4, 8, 16))


def study(*directions):
    return optuna.create_study(directions=directions, study_name="old")


def trial(params, **distributions):
    names = {"rate": "learning_rate", "rank": "lora.r", "decay": "weight_decay"}
    over = {names[name]: one for name, one in distributions.items()}
    return optuna.create_trial(value=0.5, params=params, distributions=over)


def check(*trials):
    check_spaces("old", trials, stage_with().space())


def test_a_study_of_the_objectives_direction_may_go_on():
    assert direction_of(stage_with()) == "maximize"
    assert direction_of(stage_with({"objective": "nll"})) == "minimize"
    check_direction(study("maximize"), stage_with())
    check_direction(study("minimize"), stage_with({"objective": "nll"}))


def test_another_direction_and_several_objectives_are_refused():
    with pytest.raises(SweepError, match=r"study old exists and is to minimize.*--fresh"):
        check_direction(study("minimize"), stage_with())
    with pytest.raises(SweepError, match="has 2 objectives; a sweep has one"):
        check_direction(study("maximize", "maximize"), stage_with())


def test_bounds_may_have_changed():
    check(trial({"learning_rate": 1e-6, "lora.r": 8}, rate=RATE, rank=RANKS))
    check()


def test_another_kind_of_space_and_a_field_that_is_not_searched_are_refused():
    whole = optuna.distributions.IntDistribution(4, 16)
    with pytest.raises(
        SweepError, match=r"lora\.r: trial .* of study old has it from int \[4, 16\]"
    ):
        check(trial({"lora.r": 8}, rank=whole))
    fewer = optuna.distributions.CategoricalDistribution((4, 8))
    with pytest.raises(SweepError, match=r"and the recipe searches choice \[4, 8, 16\]"):
        check(trial({"lora.r": 8}, rank=fewer))
    decay = optuna.distributions.FloatDistribution(0, 0.1)
    with pytest.raises(SweepError, match=r"weight_decay: .* the recipe searches lora\.r, l"):
        check(trial({"weight_decay": 0.05}, decay=decay))
