"""What counts as kept, and what is lost on unseen items."""

import pytest

from benchmarks.rungs.outcome import Truth, measure, orders
from benchmarks.rungs.replay import Replay
from benchmarks.rungs.strategies import paired
from sweeps.study.paired_pruning import PairedOptions


def test_equals_on_validation_items_are_all_the_best(made):
    truth = Truth(made([[1.0] * 3] * 3, [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0.25]]))
    assert truth.best == {0, 1}


def test_as_good_is_what_is_not_shown_worse_on_test_items(made):
    truth = Truth(made([[1.0] * 3] * 3, [[0, 0, 0.5]] * 3, test=[0.9, 0.875, 0.2]))
    assert truth.as_good == {0, 1}


def test_regret_is_of_the_search_winner_on_test_items(made):
    truth = Truth(
        made([[1.0] * 3] * 3, [[0, 0, 0.5], [0, 0, 0.25], [0, 0, 0.0]], test=[0.5, 0.6, 0.1])
    )
    assert truth.regret(Replay(0, frozenset({0, 2}))) == 0
    assert truth.regret(Replay(0, frozenset({2}))) == pytest.approx(0.4)
    assert truth.regret(Replay(0, frozenset({1, 2}))) == pytest.approx(-0.1)


def test_a_pruner_that_sees_the_end_keeps_the_best_at_few_steps(ladder):
    truth = Truth(ladder)
    seen = measure(truth, paired(PairedOptions(at_least=1)), "nll", "synchronous", 8)
    assert (seen.kept_best, seen.kept_as_good, seen.regret) == (1.0, 1.0, 0.0)
    assert seen.steps_share < 0.45


def test_no_pruner_takes_fewer_steps_than_the_first_rung_of_all_and_two_whole_trials(ladder):
    least = Truth(ladder).least_share
    assert least == (8 * 5 + 2 * 25) / 240
    ours = paired(PairedOptions(at_least=1))
    assert measure(Truth(ladder), ours, "nll", "synchronous", 8).steps_share <= least


def test_a_misleading_rung_loses_the_best(made):
    crossing = made(
        [[2.0 - 0.05 * index] * 3 for index in range(8)],
        [[0, 0, 0.1 * (7 - index)] for index in range(8)],
    )
    lost = measure(Truth(crossing), paired(PairedOptions(at_least=1)), "nll", "synchronous", 8)
    assert lost.kept_best < 0.5
    assert lost.regret > 0.1


def test_orders_are_the_same_each_time_and_of_all_configurations():
    assert list(orders(5, 8)) == list(orders(5, 8))
    assert all(sorted(order) == list(range(8)) for order in orders(5, 8))
    assert len({order[0] for order in orders(32, 8)}) > 4
