"""What the next trial should gain, what it costs, and how that is said."""

from dataclasses import replace

import pytest

from sweeps.trials import TrialSummary
from sweeps.worth.next_trial import Measure, next_trial

ACCURACY = Measure("accuracy", items=64)


def trial(number, objective, state="COMPLETE", seconds=120.0):
    rungs = {10: {"objective": objective, "seconds": seconds}}
    return TrialSummary(number, state, {}, objective, 10, rungs=rungs, seconds=seconds)


TRIALS = [trial(number, value) for number, value in enumerate((0.3, 0.5, 0.45, 0.2))]


def test_gain_and_cost_are_told_for_the_next_trial_and_for_all():
    text = next_trial(TRIALS, 5, ACCURACY, usd_per_hour=0.6).text()
    first, rest = text.split("; ")
    assert first.startswith("next trial: expected gain +0.0") and " points) for 2 min" in first
    assert first.endswith(", 0.02 USD")
    assert rest.startswith("all 5 left: +0.") and rest.endswith("for 10 min, 0.10 USD")


def test_without_a_price_only_the_time_is_told():
    text = next_trial(TRIALS, 1, ACCURACY).text()
    assert text.startswith("next trial, the last: ") and text.endswith("for 2 min")
    assert "USD" not in text and ";" not in text


def test_a_search_that_has_ended_says_what_another_trial_would_gain():
    another = next_trial(TRIALS, 0, ACCURACY)
    assert another.text().startswith("another trial: expected gain +0.0")
    assert another.plain()["rest"] == {"expected_gain": 0.0, "seconds": 0.0, "usd": None}
    assert another.gain == next_trial(TRIALS, 1, ACCURACY).gain


def test_a_loss_is_told_in_nats_and_lower_is_better():
    losses = [replace(one, objective=3 - one.objective) for one in TRIALS]
    loss = next_trial(losses, 5, Measure("nll", minimised=True))
    gain = next_trial(TRIALS, 5, Measure("reward"))
    assert loss.gain.next_trial == pytest.approx(gain.gain.next_trial)
    assert "nats less nll for 2 min" in loss.text() and "+" not in loss.text()
    assert " reward for 2 min" in gain.text() and "points" not in gain.text()


def test_pruned_trials_make_the_next_cheaper_and_less_promising():
    pruned = [trial(number, 0.1, "PRUNED", seconds=30.0) for number in range(4, 8)]
    alone, beside = (next_trial(each, 5, ACCURACY) for each in (TRIALS, [*TRIALS, *pruned]))
    assert beside.seconds == 75.0 < alone.seconds == 120.0
    assert beside.gain.next_trial == pytest.approx(alone.gain.next_trial / 2)


def test_noise_of_few_items_lowers_the_gain():
    few, many = (next_trial(TRIALS, 5, Measure("accuracy", items=n)) for n in (8, 10_000))
    assert few.gain.next_trial < many.gain.next_trial


def test_before_three_trials_are_complete_nothing_is_told():
    running = trial(4, 0.9, "RUNNING")
    broken = replace(trial(5, 0.9), feasible=False)
    assert next_trial([*TRIALS[:2], running, broken], 5, ACCURACY) is None


def test_the_figures_as_json():
    plain = next_trial(TRIALS, 5, ACCURACY, usd_per_hour=0.6).plain()
    assert plain["seconds"] == 120 and plain["usd"] == pytest.approx(0.02)
    assert plain["left"] == 5 and plain["complete"] == 4 and plain["objective"] == "accuracy"
    assert plain["rest"]["seconds"] == 600 and plain["rest"]["usd"] == pytest.approx(0.1)
    assert plain["rest"]["expected_gain"] > plain["expected_gain"] > 0
