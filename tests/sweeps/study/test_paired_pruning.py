"""Which trials pass a rung, by the items that they have in common."""

import random

import pytest

from sweeps.study.paired_pruning import PairedOptions, RungResult, lower_bound, passing

ONE = PairedOptions(at_least=1)


def results(means, seed=0, items=64, noise=0.3):
    """Trials with these means, on items that differ more than the trials do."""
    draw = random.Random(seed)
    items_values = [draw.gauss(0, 1) for _ in range(items)]
    return {
        number: RungResult(
            {str(at): value + mean + draw.gauss(0, noise) for at, value in enumerate(items_values)}
        )
        for number, mean in enumerate(means)
    }


@pytest.mark.parametrize("trials", [2, 4, 8])
def test_equal_trials_are_seldom_pruned(trials):
    searches = 400
    pruned = sum(
        len(passing(results([0.0] * trials, seed), False, 2, ONE)) < trials
        for seed in range(searches)
    )
    assert pruned / searches <= 0.05


def test_a_trial_that_is_clearly_worse_is_pruned_and_a_slightly_worse_is_not():
    assert passing(results([0.0, -0.5, -0.02]), False, 2, ONE) == {0, 2}
    assert passing(results([0.0, -0.5, -0.02]), True, 2, ONE) == {1}  # lower is better


def test_the_best_few_always_pass_and_a_budget_cuts_the_worst():
    means = [0.0, 2.0, 1.0, 0.5, 1.9999]
    assert passing(results(means), False, 2, PairedOptions(at_least=3)) == {1, 4, 2}
    close = results([0.0, 0.01, 0.02, 0.03], noise=1.0)
    assert passing(close, False, 1, PairedOptions(at_least=1)) == {0, 1, 2, 3}
    best_half = passing(close, False, 1, PairedOptions(at_least=1, at_most=0.5))
    assert len(best_half) == 2


def test_the_order_of_trials_and_items_does_not_matter():
    measured = results([0.0, 0.4, 0.1, 0.38])
    turned = {
        number: RungResult(dict(reversed(measured[number].values.items())))
        for number in reversed(measured)
    }
    assert passing(measured, False, 2, ONE) == passing(turned, False, 2, ONE)


def test_what_cannot_be_compared_passes():
    assert passing({3: RungResult()}, False, 1, ONE) == {3}
    few = results([0.0, 5.0], items=7)
    assert passing(few, False, 1, ONE) == {0, 1}
    apart = {0: results([0.0])[0], 1: RungResult({f"other {at}": 9.0 for at in range(64)})}
    assert passing(apart, False, 1, ONE) == {0, 1}
    assert passing({**results([0.0, 1.0]), 2: RungResult()}, False, 1, ONE) == {1, 2}


def test_a_trial_that_breaks_a_constraint_does_not_pass_beside_those_that_keep_them():
    good, broken, slightly = results([0.0, 9.0, -0.01]).values()
    trials = {0: good, 1: RungResult(broken.values, feasible=False), 2: slightly}
    assert passing(trials, False, 1, ONE) == {0, 2}
    all_broken = {
        number: RungResult(result.values, feasible=False) for number, result in trials.items()
    }
    assert passing(all_broken, False, 1, ONE) == {1}


def test_the_bound_is_below_the_mean_and_nearer_with_more_values():
    draw = random.Random(1)
    values = [draw.gauss(1, 1) for _ in range(400)]
    few, many = lower_bound(values[:40], 0.05), lower_bound(values, 0.05)
    assert few < many < 1
    assert lower_bound(values, 0.001) < many
    assert lower_bound([0.5] * 9, 0.05) == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [({"alpha": 0}, "alpha"), ({"at_least": 0}, "at_least"), ({"at_most": 1.5}, "at_most")],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        PairedOptions(**options)
