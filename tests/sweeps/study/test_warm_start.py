"""A search that begins with what an earlier one has learnt."""

import math

import optuna
import pytest

from cluster.database import open_database
from cluster.database.tables import Sweep
from sweeps.errors import SweepError
from sweeps.study.storage import open_storage, read_trials
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import Search, begin
from sweeps.trials import FROM
from tests.sweeps.driving import at, recipe_with, run_all, search, told, value

LINE = "toy/sft"


@pytest.fixture
def database(settings):
    return open_database(settings)


@pytest.fixture
def earlier(settings, database):
    """A finished search and its row."""

    def run(recipe=None, measure=value, **row):
        recipe = recipe or recipe_with(trials=5, rungs=[], pruner="none")
        found = begin(database, Search(recipe, "sft", **row), fresh=True)
        search(settings, database, recipe.stages["sft"], found.study, measure)
        return found

    return run


@pytest.fixture
def warmed(settings, database):
    """A new search that is warmed up."""
    bridges = []

    def open_(stage=None, row=None, **sweep):
        for one in bridges:
            one.close()
        recipe = recipe_with(stage, **({"warm_start": LINE, "sampler": "tpe", "trials": 4} | sweep))
        found = begin(database, Search(recipe, "sft", **(row or {})))
        bridges.append(StudySession(settings, database, found.study, recipe.stages["sft"]))
        return bridges[-1]

    yield open_
    for one in bridges:
        one.close()


def in_study(settings, bridge):
    study = optuna.load_study(study_name=bridge.name, storage=open_storage(settings))
    return study.trials


def test_what_was_measured_alike_teaches_the_sampler_and_counts_for_nothing_else(
    earlier, warmed, settings
):
    source = earlier()
    bridge = warmed()
    assert bridge.notes == ["warm start: the sampler knows 5 of 5 trials of toy/sft:1"]
    taken = [one for one in in_study(settings, bridge) if FROM in one.user_attrs]
    known = read_trials(settings, source.study)
    assert [one.params for one in taken] == [one.params for one in known]
    assert {one.user_attrs[FROM] for one in taken} == {source.study}
    assert bridge.trials() == [] and bridge.wanted == 4 and not bridge.started

    assert bridge.ask().number == 0
    bridge.report(0, at(2, 0.9))
    trials = run_all(bridge)
    assert len(trials) == 4 and bridge.finished
    assert trials[0].params == recipe_with().stages["sft"].defaults()
    assert [one.number for one in trials] == [0, 6, 7, 8]
    assert [one.number for one in read_trials(settings, bridge.name)] == [0, 6, 7, 8]


def test_it_makes_a_difference_to_what_is_suggested(earlier, warmed):
    """The higher the rate, the better: who knows that suggests high ones from the start."""
    earlier(
        recipe_with(trials=12, rungs=[], pruner="none"),
        measure=lambda params, index: math.log10(params["learning_rate"]),
    )
    lowest = {}
    for warm in (LINE, None):
        bridge = warmed(trials=4, warm_start=warm)
        asked = [bridge.ask().params["learning_rate"] for _ in range(4)]
        lowest[warm] = min(asked[1:])
    assert lowest[LINE] > 1e-2 > lowest[None]


def test_a_resumed_search_takes_nothing_more(earlier, warmed, settings):
    earlier()
    run_all(warmed())
    before = told(warmed().trials())
    earlier(recipe_with(trials=6, rungs=[], pruner="none", seed=9))
    bridge = warmed()
    assert told(bridge.trials()) == before and bridge.notes[0].startswith("warm start")
    assert sum(FROM in one.user_attrs for one in in_study(settings, bridge)) == 5


def test_trials_outside_the_new_space_stay_out_and_fixed_fields_may_be_searched(
    earlier, warmed, settings
):
    source = earlier()
    bridge = warmed({"learning_rate": {"loguniform": [1e-4, 1e-2], "default": 1e-3}})
    taken = [one for one in in_study(settings, bridge) if FROM in one.user_attrs]
    inside = [
        one
        for one in read_trials(settings, source.study)
        if 1e-4 <= one.params["learning_rate"] <= 1e-2
    ]
    assert 0 < len(taken) == len(inside) < 5
    assert f"{len(taken)} of 5 trials" in bridge.notes[0]

    bridge = warmed({"weight_decay": {"uniform": [0.0, 0.2], "default": 0.1}})
    taken = [one for one in in_study(settings, bridge) if FROM in one.user_attrs]
    assert {one.params["weight_decay"] for one in taken} == {0.0}  # what they all had


@pytest.mark.parametrize(
    ("stage", "recipe", "row", "difference"),
    [
        ({"objective": "nll"}, {}, {}, "objective"),
        ({"data": {"task": "arithmetic", "seed": 7}}, {}, {}, "data"),
        (None, {}, {"parent_id": "f" * 64}, "parent"),
        ({"max_steps": 60}, {}, {}, "max_steps"),
    ],
)
def test_where_something_else_was_measured_only_the_best_points_are_tried(
    earlier, warmed, settings, stage, recipe, row, difference
):
    earlier(recipe_with(stage, trials=5, rungs=[], pruner="none", **recipe), **row)
    bridge = warmed()
    assert bridge.notes == [
        f"warm start: toy/sft:1 measured something else ({difference}): its trials teach nothing, "
        "3 of its best points are tried again"
    ]
    assert not any(FROM in one.user_attrs for one in in_study(settings, bridge))
    asked = [bridge.ask() for _ in range(4)]
    assert [one.number for one in asked] == [0, 1, 2, 3]
    source = read_trials(settings, in_note(bridge))
    sign = 1 if (stage or {}).get("objective") == "nll" else -1
    best = sorted(source, key=lambda one: sign * one.objective)
    default = recipe_with().stages["sft"].defaults()
    points = [one.params for one in best if one.params != default]
    assert [one.params for one in asked[1:]] == points[:3]


def in_note(bridge):
    return bridge._study.user_attrs["warm"]["source"]


def test_a_file_that_changed_makes_it_something_else(earlier, warmed, tmp_path):
    file = tmp_path / "rows.jsonl"
    data = {"data": {"path": str(file), "train": 4, "validation": 2, "test": 2}}
    file.write_text('{"prompt": "a", "completion": "b"}\n')
    earlier(recipe_with(data, trials=3, rungs=[], pruner="none"))
    assert "the sampler knows 3 of 3" in warmed(data).notes[0]
    file.write_text('{"prompt": "a", "completion": "c"}\n')
    assert "its data or reward functions have changed since" in warmed(data, trials=5).notes[0]


def test_points_that_lie_outside_or_are_the_default_are_not_tried(earlier, warmed):
    earlier(recipe_with({"objective": "nll"}, trials=5, rungs=[], pruner="none"))
    bridge = warmed({"learning_rate": {"loguniform": [0.9e-3, 1.1e-3], "default": 1e-3}})
    assert "0 of its best points" in bridge.notes[0]


@pytest.mark.parametrize("name", ["toy/sft", "toy/sft:1", "toy/sft/1-"])
def test_an_earlier_search_is_named_by_line_run_or_study(earlier, warmed, name):
    source = earlier()
    begin_only = recipe_with(seed=77)  # a run in which nothing is complete yet
    warm = source.study if name.endswith("-") else name
    assert "toy/sft:1" in warmed(warm_start=warm, seed=begin_only.stages["sft"].sweep.seed).notes[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toy/stf", r"no earlier search 'toy/stf'; did you mean toy/sft:1\?; there are toy/sft:1"),
        ("toy/sft:9", r"no earlier search 'toy/sft:9'; did you mean toy/sft:1"),
        ("toy/sft:2", r"no earlier search 'toy/sft:2'"),  # the search itself
    ],
)
def test_an_unknown_one_lists_what_there_is_and_creates_nothing(
    earlier, warmed, settings, name, message
):
    earlier()
    with pytest.raises(SweepError, match=message):
        warmed(warm_start=name)
    names = optuna.get_all_study_names(open_storage(settings))
    assert len(names) == 1


def test_one_in_which_nothing_is_complete_teaches_nothing(database, warmed):
    begin(database, Search(recipe_with(), "sft"))
    with pytest.raises(SweepError, match=r"no trial of 'toy/sft' is complete"):
        warmed()
    with database.session() as session:
        for row in session.query(Sweep):
            session.delete(row)
    with pytest.raises(SweepError, match=r"nothing was searched yet"):
        warmed()


def test_an_unreadable_recipe_of_an_older_version_still_gives_points(earlier, warmed, database):
    source = earlier()
    with database.session() as session:
        row = session.get_one(Sweep, source.id)
        row.recipe = {**row.recipe, "gone": True}
    bridge = warmed()
    assert "another version of Alignery" in bridge.notes[0]
    assert "3 of its best points" in bridge.notes[0]


def test_a_warmed_up_search_that_is_killed_goes_on_as_it_was(earlier, warmed, database, settings):
    earlier()
    recipe = recipe_with(warm_start=LINE, sampler="tpe", trials=4)
    row = begin(database, Search(recipe, "sft"))

    def add_trial(self, trial):
        if sum(FROM in one.user_attrs for one in self.trials) == 3:
            raise KeyboardInterrupt
        original(self, trial)

    original, optuna.Study.add_trial = optuna.Study.add_trial, add_trial
    try:
        with pytest.raises(KeyboardInterrupt):
            StudySession(settings, database, row.study, recipe.stages["sft"])
    finally:
        optuna.Study.add_trial = original
    bridge = warmed()
    assert bridge.name == row.study
    assert sum(FROM in one.user_attrs for one in in_study(settings, bridge)) == 5
    assert bridge.ask().number == 0 and bridge.ask().number == 6


def test_trials_that_wait_for_each_other_do_not_wait_for_those_of_the_earlier_search(
    earlier, warmed
):
    earlier()
    bridge = warmed(pruner="paired", trials=3)
    for _ in range(3):
        assignment = bridge.ask()
        assert not bridge.report(assignment.number, at(0, 0.5, rung=0.5))
        assert bridge.paused(assignment.number)
    numbers = [trial.number for trial in bridge.trials()]
    assert bridge.ask() is None and numbers[1] > 3  # the earlier trials have the numbers between
    bridge.decide_rung()
    assert [bridge.ask().number for _ in range(3)] == numbers
