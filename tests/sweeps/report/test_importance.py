"""Which field matters, of trials in which one does."""

from dataclasses import replace

import pytest

from sweeps.report.importance import importance
from tests.sweeps.driving import stage_with
from tests.sweeps.reporting import trial

BY_RANK = {4: 0.1, 8: 0.5, 16: 0.9}


def trials(count, state="COMPLETE", last=30):
    """The rank alone decides; the learning rate makes no difference."""
    made = [trial(number, state, {}) for number in range(count)]
    objectives = [BY_RANK[one.params["lora.r"]] + one.number / 1000 for one in made]
    return [
        trial(number, state, {step: value for step in (10, 20, 30) if step <= last})
        for number, value in enumerate(objectives)
    ]


def test_the_field_that_decides_has_the_larger_share():
    found = importance(stage_with(), trials(36))
    assert found.told == "Of 36 complete trials."
    assert found.shares["lora.r"] > 0.6 > found.shares["learning_rate"]
    assert sum(found.shares.values()) == pytest.approx(1)


def test_where_few_are_complete_the_first_rung_tells():
    found = importance(stage_with(), trials(7) + trials(12, "PRUNED", 10)[7:])
    assert found.told == "Of 12 trials by their objective at step 10. With so few it is a hint."
    assert set(found.shares) == {"learning_rate", "lora.r"}


def test_trials_without_an_objective_at_the_rung_tell_by_their_rung_metric():
    pruned = trials(12, "PRUNED", 10)
    by_metric = [
        replace(one, objective=None, rungs={10: {"rung": -(one.objective or 0.0)}})
        for one in pruned
    ]
    found = importance(stage_with(pruner="paired"), by_metric)  # a lower likelihood loss is better
    assert found.told == "Of 12 trials by their nll at step 10. With so few it is a hint."
    assert found.shares == pytest.approx(importance(stage_with(), pruned).shares)


def test_too_few_trials_tell_nothing():
    found = importance(stage_with(), trials(7))
    assert found.shares == {}
    assert found.told == "Too few trials to tell: 7 are complete, it takes 8."
    assert importance(stage_with(), trials(8)).shares


def test_where_nothing_is_searched_nothing_matters():
    fixed = stage_with({"learning_rate": 1e-3, "lora": {"r": 8}})
    assert importance(fixed, trials(20)).told == "Nothing is searched."
