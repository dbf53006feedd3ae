"""Expected gains against the gains of simulated searches."""

from statistics import fmean

import numpy as np
import pytest

from sweeps.worth.expected_gain import expected_gain, share_noise

SEARCHES = 400
LEFT = 5

#: How objectives spread: what one field, two fields or many leave, and with trials that diverge.
SPREADS = {
    "two fields": lambda random, n: 0.6 - 0.2 * (random.uniform(-1, 1, (n, 2)) ** 2).sum(axis=1),
    "normal": lambda random, n: random.normal(0.5, 0.05, n),
    "uniform": lambda random, n: random.uniform(0.3, 0.6, n),
    "diverging": lambda random, n: np.where(
        random.random(n) < 0.2, 0.0, random.normal(0.5, 0.05, n)
    ),
}


def simulated(spread, count, items=0):
    """(predicted, realised) mean gains of the next trial and of all `LEFT`."""
    random, rows = np.random.default_rng(7), []
    noise = share_noise([0.5], items)
    for _ in range(SEARCHES):
        true = spread(random, count + LEFT)
        seen = true + random.normal(0, noise**0.5, count + LEFT)
        gain = expected_gain(seen[:count].tolist(), LEFT, noise)
        best, later, last = (true[seen[:n].argmax()] for n in (count, count + 1, count + LEFT))
        rows.append((gain.next_trial, later - best, gain.rest, last - best))
    return [fmean(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("items", [0, 64])
@pytest.mark.parametrize("name", SPREADS)
def test_predicted_gains_are_those_of_simulated_searches_within_a_factor(name, items):
    _, _, predicted, realised = simulated(SPREADS[name], 5, items)
    assert 1 / 2.2 < predicted / realised < 2.2
    next_predicted, next_realised, *_ = simulated(SPREADS[name], 4, items)
    assert 1 / 2.5 < next_predicted / next_realised < 2.5


@pytest.mark.parametrize("name", SPREADS)
def test_the_gain_decreases_as_trials_accumulate(name):
    means = [simulated(SPREADS[name], count)[0] for count in (3, 5, 9, 17)]
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0] / 4


def test_differences_that_are_noise_promise_little():
    random = np.random.default_rng(3)
    noise = share_noise([0.5], 64)
    searches = [random.normal(0.5, noise**0.5, 8).tolist() for _ in range(200)]
    with_noise = fmean(expected_gain(values, 5, noise).next_trial for values in searches)
    without = fmean(expected_gain(values, 5).next_trial for values in searches)
    assert with_noise < without / 2


def test_more_trials_promise_more_and_none_promise_nothing():
    values = [0.3, 0.5, 0.45, 0.2]
    by_left = [expected_gain(values, left) for left in (0, 1, 5, 20)]
    assert [gain.rest for gain in by_left] == sorted(gain.rest for gain in by_left)
    assert by_left[0].next_trial == by_left[0].rest == 0
    assert by_left[1].next_trial == by_left[1].rest == by_left[2].next_trial > 0


def test_trials_that_are_pruned_as_a_rule_promise_less():
    values = [0.3, 0.5, 0.45, 0.2]
    whole, third = expected_gain(values, 5), expected_gain(values, 5, completing=1 / 3)
    assert third.next_trial == pytest.approx(whole.next_trial / 3)


def test_a_trial_that_diverged_does_not_make_the_others_promising():
    calm = expected_gain([0.5, 0.51, 0.52, 0.5], 5).next_trial
    assert expected_gain([0.5, 0.51, 0.52, -1000.0], 5).next_trial < 3 * calm


def test_two_values_say_nothing_and_equal_values_promise_nothing():
    assert expected_gain([0.5, 0.6], 5) is None
    assert expected_gain([0.5] * 4, 5).rest == 0
    assert expected_gain([0.5] * 4, 5, noise=0.01).rest == 0


def test_the_scale_of_the_objective_does_not_matter():
    values = [0.3, 0.5, 0.45, 0.2]
    points = expected_gain([100 * value - 7 for value in values], 5)
    assert points.rest == pytest.approx(100 * expected_gain(values, 5).rest)
