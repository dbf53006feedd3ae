"""The answer of a search as text and as JSON."""

import json

import pytest

from align.evaluation.statistics import Paired
from sweeps.answer import answer_lines, cost, plain_answer, probability_text
from sweeps.finalists import Entry, Standing
from sweeps.trials import TrialSummary

TRIALS = [TrialSummary(n, "COMPLETE", {}, 0.5, 10, seconds=900.0) for n in range(2)]


def standing(chosen, gain, measure="nll", **fields):
    systems = (
        Entry("default", 0, 1.2, 1.1, 1.3, {}, True),
        Entry("trial 1", 1, 1.0, 0.9, 1.1, {}, True, gain, gain),
    )
    return Standing("test", 200, measure, measure == "nll", chosen, 1, systems, **fields)


def test_a_lower_value_is_a_gain_where_the_objective_is_minimised():
    lines = answer_lines(
        standing(1, Paired(-0.2, -0.3, -0.1, 200), probability=0.999), cost(60, TRIALS)
    )
    assert "nll -0.2 (-0.3 to -0.1), shown better" in lines[0] and "over 99 %" in lines[0]
    assert lines[1].startswith("Over the parent: -0.2")
    assert lines[-1] == "Cost of the search: 60 s, 0.5 worker-hours; -0.2 for 60 s"


def test_a_winner_that_is_not_shown_better_is_not_said_to_be():
    lines = answer_lines(standing(1, Paired(-0.1, -0.3, 0.1, 200)), cost(7200, TRIALS))
    assert "not shown to differ" in lines[0] and "shown better" not in lines[0]
    assert "2.0 h" in lines[-1]


def test_the_answer_is_json():
    gain = Paired(0.0, float("nan"), float("nan"), 16, p_value=1.0)
    plain = plain_answer(
        standing(0, gain, "accuracy", probability=0.5), cost(60, TRIALS, usd_per_hour=2.0)
    )
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["default_won"] and plain["challenger"] == 1 and plain["usd"] == 1.0
    assert plain["over_default"]["difference"] == 0.0 and plain["over_default"]["low"] is None
    assert plain["over_base"] is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (1.0, "over 99 %"), (0.0, "under 1 %"), (0.966, "97 %")],
)
def test_no_probability_is_called_certain(value, text):
    assert probability_text(value) == text
