"""The worth of another trial, from what a search has stored."""

import pytest

from cluster.database import open_database
from sweeps import run_store, sweep_store
from sweeps.results.search_worth import search_worth
from sweeps.run_store import RunOptions
from sweeps.study.storage import read_trials
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import FINISHED, Search, begin
from sweeps.worth.next_trial import measure_of
from tests.sweeps.driving import recipe_with, run, run_all


@pytest.fixture
def database(settings):
    return open_database(settings)


def searched(settings, database, recipe, hourly=None, driven=None):
    """The row of the recipe's sweep after all its trials, or after the first `driven`."""
    options = RunOptions(price=1.0, usd_per_hour={} if hourly is None else {"sft": hourly})
    launch = run_store.create(database, recipe, ["sft"], options)
    row = begin(database, Search(recipe, "sft"), launch=launch.id)
    with StudySession(settings, database, row.study, recipe.stages["sft"]) as session:
        session.stop_when.judge_by(measure_of(recipe, "sft"))
        if driven is None:
            run_all(session)
        for _ in range(driven or 0):
            run(session, session.ask())
    return row


def worth(settings, database, row):
    return search_worth(settings, database, row, read_trials(settings, row.study))


def test_an_open_search_says_what_its_next_trial_is_worth(settings, database):
    recipe = recipe_with(trials=8, rungs=[], pruner="none")
    row = searched(settings, database, recipe, hourly=0.5, driven=4)
    found = worth(settings, database, row)
    assert found.stopped_early is None and found.next_trial.left == 4
    assert found.next_trial.usd == pytest.approx(found.next_trial.seconds / 3600 * 0.5)
    (line,) = found.lines()
    assert line.startswith("next trial: expected gain +") and "; all 4 left: +" in line


def test_a_finished_search_says_what_another_trial_is_worth(settings, database):
    row = searched(settings, database, recipe_with(trials=4, rungs=[], pruner="none"))
    row = sweep_store.update(database, row.id, state=FINISHED)
    found = worth(settings, database, row)
    assert found.next_trial.left == 0 and found.next_trial.usd is None
    assert found.lines()[0].startswith("another trial: ")


def test_a_search_that_was_stopped_early_says_why(settings, database):
    rule = {"gain_below": 0.9}
    recipe = recipe_with(trials=8, rungs=[], pruner="none", stop_when=rule)
    row = searched(settings, database, recipe)
    found = worth(settings, database, row)
    plain = found.plain()["stopped_early"]
    assert plain["gain_below"] == 0.9 > plain["gain"] and plain["wanted"] == 8 > plain["begun"]
    assert found.lines()[0].startswith("stopped by stop_when: expected gain ")
    assert found.next_trial.left == 0


def test_a_recipe_of_an_earlier_version_has_no_worth(settings, database):
    row = searched(settings, database, recipe_with(trials=4, rungs=[], pruner="none"))
    row = sweep_store.update(database, row.id, recipe={"name": "toy"})
    assert worth(settings, database, row).lines() == []
    assert worth(settings, database, row).plain() == {"stopped_early": None, "next_trial": None}
