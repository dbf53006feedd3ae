"""A trial that breaks a constraint, as the pruner and the sampler hear of it."""

import math

import optuna
import pytest

from sweeps.study.constraints import constrain, told


@pytest.mark.parametrize(
    ("metrics", "heard"),
    [({}, 0.5), ({"violation": -0.1}, 0.5), ({"violation": 0.0}, 0.5), ({"violation": 1e-9}, None)],
)
def test_the_pruner_hears_the_objective_or_the_worst_there_is(metrics, heard):
    assert told(0.5, metrics, minimised=False) == (-math.inf if heard is None else heard)
    assert told(0.5, metrics, minimised=True) == (math.inf if heard is None else heard)


@pytest.mark.parametrize(
    ("metrics", "stored"),
    [
        ({}, {}),
        ({"violation": -0.1}, {"violation": -0.1}),
        ({"violation": math.nan}, {"violation": math.inf}),
    ],
)
def test_the_sampler_hears_how_far_and_what_is_no_number_is_the_farthest(metrics, stored):
    trial = optuna.create_study().ask()
    constrain(trial, metrics)
    assert dict(trial.constraints) == stored
