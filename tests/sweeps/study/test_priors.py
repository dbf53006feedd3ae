"""Learning rates with which a search begins."""

import pytest

from align.sources import SMOLLM2
from cluster.database import open_database
from sweeps.study.priors import choose, parameters_of
from sweeps.study.published_rates import Prior
from sweeps.study.storage import read_trials
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import FINISHED, Search, begin, update
from tests.sweeps.driving import recipe_with, run_all, stage_with

PUBLISHED = "prior: published SFT sweeps"


@pytest.fixture
def database(settings):
    return open_database(settings)


@pytest.fixture
def searched(settings, database):
    """Searches a recipe, up to a number of trials, and returns its row and the notes."""

    def run(recipe, most=100, fresh=False, ends=True):
        row = begin(database, Search(recipe, "sft"), fresh=fresh)
        with StudySession(settings, database, row.study, recipe.stages["sft"]) as session:
            if most < 100:
                for _ in range(most):
                    session.ask()
            else:
                run_all(session)
            notes = session.notes
        if ends and most == 100:
            update(database, row.id, state=FINISHED)
        return row, notes

    return run


def origins(settings, row):
    return [trial.origin for trial in read_trials(settings, row.study)]


def space(low=1e-5, high=1e-1, **lr):
    return stage_with({"learning_rate": {"loguniform": [low, high], **lr}}).space()["learning_rate"]


def chosen(over, known, tried=(), most=4):
    return [prior.rate for prior in choose(over, tried, [Prior(rate, "x") for rate in known], most)]


def test_points_lie_within_the_space():
    assert chosen(space(1e-4, 1e-3), [5e-5, 8e-5, 5e-4, 2e-3]) == [1e-4, 5e-4]


def test_points_differ_from_what_is_tried_and_from_each_other():
    assert chosen(space(), [1.2e-3, 3e-4, 2.5e-4, 5e-4], tried=[1e-3]) == [3e-4, 5e-4]


def test_no_more_points_than_asked_for():
    assert chosen(space(), [1e-4, 3e-4, 1e-3], most=2) == [1e-4, 3e-4]


def test_a_choice_takes_its_nearest_value():
    over = stage_with({"learning_rate": {"choice": [1e-4, 5e-4, 3e-2]}}).space()["learning_rate"]
    assert chosen(over, [4e-4, 3e-3]) == [5e-4]


@pytest.mark.parametrize(("trials", "count"), [(2, 0), (3, 1), (8, 2), (30, 4)])
def test_a_third_of_the_trials_and_at_most_four(settings, searched, trials, count):
    lr = {"loguniform": [1e-5, 1e-1], "default": 5e-2}
    recipe = recipe_with({"learning_rate": lr}, base=SMOLLM2, trials=trials, rungs=[])
    row, notes = searched(recipe, most=count + 2)
    begun = origins(settings, row)
    assert begun == ["default"] + [PUBLISHED] * count + ["sampler"]
    assert any("published SFT sweeps" in note for note in notes) == bool(count)


def test_priors_follow_the_recipes_points_with_defaults_elsewhere(settings, searched):
    points = [{"lora.r": 16}, {"learning_rate": 6e-4}]
    row, _ = searched(recipe_with(base=SMOLLM2, trials=6, points=points), most=6)
    trials = read_trials(settings, row.study)
    found = [trial.origin for trial in trials]
    assert found == ["default", "point", "point", PUBLISHED, PUBLISHED, "sampler"]
    assert all(trial.params["lora.r"] == 8 for trial in trials[3:5])
    assert all(trial.params["learning_rate"] > 1.5e-3 or trial.params["learning_rate"] < 4e-4
               for trial in trials[3:5])  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "sweep"),
    [
        ({}, {"priors": "none"}),
        ({"learning_rate": 1e-3}, {}),
        ({"learning_rate": {"choice": [1e-3, 6e-4]}}, {"sampler": "grid"}),
    ],
    ids=["off", "not searched", "grid"],
)
def test_no_priors(settings, searched, stage, sweep):
    row, notes = searched(recipe_with(stage, base=SMOLLM2, trials=6, **sweep), most=6)
    assert not any(origin.startswith("prior") for origin in origins(settings, row))
    assert not any("priors" in note for note in notes)


def test_a_toy_base_has_none_and_a_note_says_so(settings, searched):
    row, notes = searched(recipe_with(trials=6), most=6)
    assert origins(settings, row) == ["default"] + ["sampler"] * 5
    assert notes == ["priors: none is known for sft on tiny-random"]


def test_this_installations_best_rate_comes_before_the_published(settings, searched):
    lr = {"loguniform": [1e-5, 1e-1], "default": 1e-2}
    points = [{"learning_rate": 1.1e-3}]
    earlier = recipe_with({"learning_rate": lr}, base=SMOLLM2, trials=2, rungs=[], points=points)
    searched(earlier, ends=True)
    recipe = recipe_with({"learning_rate": lr}, name="other", base=SMOLLM2, trials=6)
    row, _ = searched(recipe, most=3)
    trials = read_trials(settings, row.study)
    assert [trial.origin for trial in trials] == ["default", "prior: toy/sft:1", PUBLISHED]
    assert trials[1].params["learning_rate"] == 1.1e-3


@pytest.mark.parametrize("base", ["tiny-random"])
def test_other_bases_and_unfinished_searches_say_nothing(settings, searched, base):
    earlier = recipe_with(base=base, trials=3, rungs=[], points=[{"learning_rate": 2e-2}])
    searched(earlier)
    unfinished = recipe_with(base=SMOLLM2, trials=3, rungs=[], points=[{"learning_rate": 3e-2}])
    searched(unfinished, ends=False)
    row, _ = searched(recipe_with(name="other", base=SMOLLM2, trials=6), most=3)
    assert origins(settings, row) == ["default", PUBLISHED, PUBLISHED]


def test_a_resumed_search_takes_what_it_began_with(settings, searched):
    recipe = recipe_with(name="other", base=SMOLLM2, trials=6)
    searched(recipe, most=1)
    searched(recipe_with(base=SMOLLM2, trials=3, rungs=[], points=[{"learning_rate": 5e-3}]))
    row, notes = searched(recipe, most=4)
    assert origins(settings, row) == ["default", PUBLISHED, PUBLISHED, "sampler"]
    assert any("published SFT sweeps" in note for note in notes)


def test_a_study_of_an_earlier_version_gets_none(settings, database, searched, monkeypatch):
    from sweeps.study import study_trials

    recipe = recipe_with(base=SMOLLM2, trials=6)
    with monkeypatch.context() as patch:
        patch.setattr(study_trials, "begin_with", lambda *_: {})
        searched(recipe, most=1)
    row, notes = searched(recipe, most=6)
    assert origins(settings, row) == ["default"] + ["sampler"] * 5
    assert notes == []


def test_recipes_are_dumped_as_before_while_priors_are_on():
    assert "priors" not in stage_with().model_dump(mode="json")["sweep"]
    assert stage_with(priors="none").model_dump(mode="json")["sweep"]["priors"] == "none"


def test_sizes_of_bases():
    assert 1.3e8 < parameters_of(SMOLLM2) < 1.4e8
    assert parameters_of("somebody/unseen-model") is None
    assert parameters_of("no such model") is None
