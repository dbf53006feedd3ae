"""How many trials a pruner lets through, in expectation."""

import random

import pytest

from align.recipe import SweepConfig
from sweeps.planning.pruning_estimate import halved, survivors


def simulated(factor, count, runs=4000):
    """Successive halving on objectives in random order, by Optuna's rule."""
    rng, through = random.Random(0), 0
    for _ in range(runs):
        seen = []
        for _ in range(count):
            value = rng.random()
            seen.append(value)
            best = sorted(seen, reverse=True)[: max(1, len(seen) // factor)]
            through += value >= best[-1]
    return through / runs


@pytest.mark.parametrize(("factor", "count"), [(2, 8), (3, 9), (4, 16)])
def test_expected_survivors_are_those_of_optunas_rule(factor, count):
    assert halved(count, factor) == pytest.approx(simulated(factor, count), rel=0.05)


def test_survivors_by_pruner():
    def reaching(**fields):
        return survivors(SweepConfig(trials=16, rungs=[10, 20], **fields), 16)

    assert reaching(pruner="none") == [16, 16, 16]
    assert reaching(pruner="median", pruner_options={"n_startup_trials": 4}) == [16, 10, 7]
    halves = reaching()
    assert halves[0] == 16 > halves[1] > halves[2] >= 1
    assert reaching(pruner="patient") is None
    assert survivors(SweepConfig(trials=5, pruner="patient"), 5) == [5]  # no rung, none pruned


def test_survivors_of_a_percentile_are_those_that_come_first_and_its_share_of_the_rest():
    def reaching(trials=16, **options):
        sweep = SweepConfig(trials=trials, rungs=[10, 20], pruner="percentile")
        return survivors(sweep.model_copy(update={"pruner_options": options}), trials)

    assert reaching(percentile=25.0, n_startup_trials=4) == [16, 7, 4.75]
    assert reaching(percentile=25.0) == [16, 7, 4.75]  # a quarter of a small sweep starts it up
    assert reaching(40, percentile=25.0) == [40, 13.75, 7.1875]  # and five trials of a large one
    assert reaching(2, percentile=0.0) == [2, 1, 1]
    assert reaching(percentile=0.0, n_startup_trials=0) == [16, 1, 1]  # trial 0 always goes on
    assert reaching(1, percentile=50.0, n_startup_trials=9) == [1, 1, 1]


def test_a_part_of_a_trial_survives_in_part():
    for count, factor in ((8, 2), (8, 3), (3, 4)):
        middle = (halved(count, factor) + halved(count + 1, factor)) / 2
        assert halved(count + 0.5, factor) == pytest.approx(middle)
    assert survivors(SweepConfig(trials=1, rungs=[10, 20]), 1) == [1, 1, 1]
