"""The points of a grid search, made and counted without a study."""

import pytest

from sweeps.errors import SweepError
from sweeps.study.grid import MOST, Grid, key
from tests.sweeps.driving import stage_with

RATES = {"learning_rate": [1e-4, 1e-3]}


def test_a_grid_has_every_combination_once_in_an_order_that_the_seed_tells():
    grid = Grid(stage_with(), RATES, seed=1)
    every = {
        (("learning_rate", rate), ("lora.r", rank)) for rate in (1e-4, 1e-3) for rank in (4, 8, 16)
    }
    assert len(grid.points) == 6 and {key(point) for point in grid.points} == every
    assert Grid(stage_with(), RATES, seed=1).points == grid.points
    assert any(Grid(stage_with(), RATES, seed).points != grid.points for seed in (2, 3))


def test_a_value_that_is_listed_twice_counts_once():
    assert len(Grid(stage_with(), {"learning_rate": [1e-3, 1e-3]}, 0).points) == 3


def test_what_was_tried_is_left_out_whatever_the_order_of_its_fields():
    grid = Grid(stage_with(), RATES, seed=1)
    tried = [dict(reversed(point.items())) for point in grid.points[:2]]
    assert grid.left(tried) == grid.points[2:]
    assert grid.left([{"learning_rate": 0.5, "lora.r": 4}]) == grid.points


def test_a_field_without_effect_makes_no_further_points():
    searched = {
        "learning_rate": 1e-3,
        "weight_decay": {"choice": [0.0, 0.1], "when": {"lora.r": 4}},
    }
    points = Grid(stage_with(searched), {}, 0).points
    assert len(points) == 4  # two at rank 4, one each at 8 and 16
    assert sum("weight_decay" in point for point in points) == 2


def test_the_largest_grid_is_allowed_and_one_point_more_is_not():
    def of(most):
        return stage_with(
            {"learning_rate": 1e-3, "lora": {"r": 8}, "max_length": {"int": [8, most]}}
        )

    assert len(Grid(of(MOST + 7), {}, 0).points) == MOST
    with pytest.raises(SweepError, match="more than 10,000 points"):
        Grid(of(MOST + 8), {}, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"cannot hold every value of learning_rate: loguniform \[1e-05, 0\.1\]"),
        ({"learning_rate": []}, r"learning_rate: expected a list of values; got \[\]"),
        ({"learning_rate": [1.0]}, r"learning_rate: 1\.0 lies outside"),
        (RATES | {"beta": [1]}, r"not searched here: beta; searched: lora\.r, learning_rate"),
    ],
)
def test_what_makes_no_grid_is_told_by_field(given, message):
    with pytest.raises(SweepError, match=message):
        Grid(stage_with(), given, 0)
