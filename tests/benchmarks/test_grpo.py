"""The difference of two writers of completions, paired by seed."""

from types import SimpleNamespace
from typing import Any

import pytest
from scipy import stats

from benchmarks.grpo.report import _difference


def runs(*means: float) -> Any:
    return [SimpleNamespace(rewards=[0.0, mean]) for mean in means]


def test_seeds_have_students_interval() -> None:
    found = _difference(runs(0.5, 0.7, 0.6), runs(0.4, 0.4, 0.55), first=1)
    theirs = stats.ttest_1samp([0.1, 0.3, 0.05], 0).confidence_interval()
    assert found["mean"] == 0.15
    assert (found["low"], found["high"]) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


@pytest.mark.parametrize("means", [(0.5,), (0.5, 0.5, 0.5)])
def test_seeds_that_agree_are_not_certain(means: tuple[float, ...]) -> None:
    found = _difference(runs(*means), runs(*[0.25] * len(means)), first=1)
    assert found == {"mean": 0.25, "low": None, "high": None}
