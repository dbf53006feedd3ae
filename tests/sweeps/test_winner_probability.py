"""How probable it is that a winner is better than the default, against simulation."""

import numpy as np
import pytest

from align.evaluation.statistics import paired
from sweeps.winner_probability import probability_better

ITEMS = 100


def chance(default, challengers, share=False, minimised=False):
    """The probability of the best of `challengers`, and whether it beats the default here."""
    sign = -1 if minimised else 1
    order = sorted(challengers, key=lambda values: -sign * values.mean())
    gain = paired(order[0], default, share=share)
    own, *others = [dict(enumerate(values - default)) for values in order]
    return probability_better(gain, minimised, own, others)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("count", [1, 4])
def test_of_equal_trials_the_best_is_not_called_better_more_often_than_by_chance(share, count):
    generator = np.random.default_rng(1)
    found = []
    for _ in range(200):
        level = generator.normal(size=ITEMS)  # items are hard or easy for all
        noise = generator.normal(size=(count + 1, ITEMS))
        values = level + noise
        default, *challengers = (values > 0).astype(float) if share else values
        found.append(chance(default, challengers, share))
    assert np.mean(np.asarray(found) > 0.95) <= 0.09  # 5 % and two standard errors of 200 runs
    assert 0.35 < np.mean(found) < 0.65


def test_the_best_of_several_is_less_certain_than_the_only_challenger():
    generator = np.random.default_rng(2)
    default = generator.normal(size=ITEMS)
    first, *others = [default + generator.normal(size=ITEMS) for _ in range(6)]
    first = first - (first - default).mean() + 0.25
    others = [values - (values - default).mean() for values in others]
    alone, among = chance(default, [first]), chance(default, [first, *others])
    assert 0.9 < among < alone < 1.0


def test_a_real_gain_is_nearly_certain_and_a_loss_nearly_excluded():
    default = np.zeros(ITEMS)
    better = np.asarray([1.0] * 20 + [0.0] * 80)
    assert chance(default, [better], share=True) > 0.999
    assert chance(better, [default], share=True) < 0.001
    noise = np.random.default_rng(3).normal(scale=0.1, size=ITEMS)
    assert chance(default, [noise - 1], minimised=True) > 0.999
    assert chance(default, [noise + 1], minimised=True) < 0.001


def test_equal_answers_are_an_even_chance():
    same = np.ones(ITEMS)
    assert chance(same, [same], share=True) == pytest.approx(0.5)
    assert chance(same, [same, same]) < 0.5


def test_jeffreys_posterior_of_few_moved_items():
    moved = np.asarray([1.0, 1.0, 0.0, 0.0])
    # Beta(5/2, 1/2) of sin² t has the density of sin⁴ t: by hand, above t = π/4
    by_hand = 1 - (3 * np.pi / 32 - 1 / 4) / (3 * np.pi / 16)
    assert chance(np.zeros(4), [moved], share=True) == pytest.approx(by_hand)
