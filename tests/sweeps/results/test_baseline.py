"""The best trial beside the recipe's own settings, in words."""

import pytest

from align.evaluation.comparison import Compared
from align.evaluation.statistics import Paired
from cluster.storage import Storage
from sweeps.results.baseline import beside_default, gain_over_default
from sweeps.trials import TrialSummary

DEFAULT = TrialSummary(0, "COMPLETE", {}, 0.75, 40)
BEST = TrialSummary(2, "COMPLETE", {}, 0.81234, 40)


def test_the_default_itself_may_be_the_best():
    assert beside_default((DEFAULT,), DEFAULT, None) == "which is the default"


@pytest.mark.parametrize(
    "trials",
    [
        (BEST,),
        (TrialSummary(0, "FAIL", {}, 0.75, 40), BEST),
        (TrialSummary(0, "COMPLETE", {}, None, 0), BEST),
    ],
)
def test_a_default_that_did_not_complete_is_no_figure(trials):
    assert beside_default(trials, BEST, None) == "the default did not complete"


def test_with_rows_of_both_there_is_a_difference_and_a_verdict():
    assert beside_default((DEFAULT, BEST), BEST, None) == "default 0.75"
    gain = Compared("accuracy", 0.8, 0.75, Paired(0.05, 0.02, 0.12, 64))
    assert beside_default((DEFAULT, BEST), BEST, gain) == (
        "default 0.75, difference +5.0 (+2.0 to +12.0) points: better on 64 items"
    )


def test_without_rows_there_is_no_difference(settings):
    assert gain_over_default(Storage(settings), "toy/sft/1-abc", 2, "accuracy") is None
    assert gain_over_default(Storage(settings), "toy/sft/1-abc", 0, "accuracy") is None
