"""The pruners that are compared, on curves whose order is known."""

import pytest

from benchmarks.rungs.replay import Search, asynchronous, synchronous
from benchmarks.rungs.strategies import STRATEGIES, paired
from sweeps.study.paired_pruning import PairedOptions

#: The worst is first, so that it alone is spared.
ORDER = (0, 3, 5, 7, 1, 6, 2, 4)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_pruner_keeps_a_best_that_is_clearly_best_at_every_rung(ladder, name):
    replay = asynchronous(Search(ladder, "nll", ORDER), STRATEGIES[name](ladder, 0))
    assert 7 in replay.completed
    assert 0 in replay.completed
    assert replay.steps < 240


def test_ours_prunes_what_is_shown_worse_item_by_item(ladder):
    ours = paired(PairedOptions(at_least=1))
    replay = synchronous(Search(ladder, "nll", ORDER), ours(ladder, 0))
    assert replay.completed == {0, 7}


def test_wilcoxon_compares_item_by_item(ladder):
    replay = synchronous(Search(ladder, "nll", ORDER), STRATEGIES["wilcoxon"](ladder, 0))
    assert replay.completed == {0, 7}


def test_halving_promotes_a_third_of_those_at_a_rung(ladder):
    search = Search(ladder, "nll", [7, 6, 5, 4, 3, 2, 1, 0])
    assert asynchronous(search, STRATEGIES["halving"](ladder, 0)).completed == {7}


def test_pruners_may_compare_by_a_metric_that_sees_nothing(ladder):
    """All are equal by accuracy at rungs, so nobody is shown worse."""
    for name in ("ours", "wilcoxon"):
        search = Search(ladder, "accuracy", ORDER)
        assert len(synchronous(search, STRATEGIES[name](ladder, 0)).completed) == 8
