"""What `alignery bench sweep` makes of the searches that it has timed."""

import json
from pathlib import Path

import pytest

from benchmarks.sweep.outcome import Outcome, TrialRun, read_outcome
from benchmarks.sweep.report import summary
from benchmarks.sweep.run import Run, Settings, measure
from benchmarks.sweep.task import points_of, recipe_of, task_of


def trial(began, ended, score=None, **phases):
    return TrialRun({"learning_rate": 1e-3}, began, ended, 30, phases, score)


def outcome(seconds, *trials):
    return Outcome(100.0, 100.0 + seconds, 2, list(trials))


TWO = outcome(50, trial(105, 125, 0.40, train=15, evaluate=5), trial(105, 145, 0.41, train=40))


def test_the_best_is_the_highest_score_and_of_equals_the_first():
    equal = outcome(50, trial(100, 140, 0.4), trial(100, 120, 0.4), trial(100, 110))
    assert equal.best.ended == 120
    assert TWO.best.ended == 145


def test_seconds_to_a_share_of_the_best_count_from_the_start_of_the_process():
    assert TWO.seconds_to(0.95) == 25
    assert TWO.seconds_to(1.0) == 45


def test_shares_are_of_all_slots_and_what_no_trial_claims_is_idle():
    shares = TWO.shares()
    assert shares["train"] == 0.55
    assert shares["evaluate"] == 0.05
    assert shares["idle"] == pytest.approx(0.4)
    assert sum(shares.values()) == pytest.approx(1)


def test_an_outcome_is_read_as_it_was_written(tmp_path):
    (tmp_path / "one.json").write_text(TWO.to_json())
    assert read_outcome(tmp_path / "one.json") == TWO


def test_ratios_are_of_makespans_and_intervals_pair_items():
    runs = [
        Run("ours", 0, outcome(50, trial(100, 150, 0.5)), [1.0, 1.0, 0.0, 1.0]),
        Run("plain", 0, outcome(200, trial(100, 300, 0.5)), [1.0, 1.0, 0.0, 1.0]),
        Run("asha", 0, outcome(75, trial(100, 175, 0.5)), [0.0, 0.0, 0.0, 0.0]),
    ]
    found = summary(runs)
    assert found["makespan_ratio"] == {"plain": 4.0, "asha": 1.5}
    assert found["best_score"]["ours"] == 0.75
    plain = found["best_score"]["interval"]["plain"]
    assert plain["difference"] == 0 and plain["low"] == -plain["high"] < 0  # of four items
    assert found["best_score"]["interval"]["asha"]["difference"] == 0.75
    assert found["trials_an_hour"]["ours"] == 72


def test_fixed_points_are_the_same_for_all_and_lie_in_the_space():
    recipe = recipe_of(1, 8, 30)
    points = points_of(recipe, fixed=True)
    assert len(points) == 8 and points == points_of(recipe, fixed=True)
    space = recipe.stages["sft"].space()
    assert all(space[name].contains(value) for point in points for name, value in point.items())
    assert points_of(recipe, fixed=False) == points[:1] == [recipe.stages["sft"].defaults()]


def test_everyone_is_given_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("align.base.model_source", lambda _: "folder")
    task = task_of(recipe_of(0, 8, 30), tmp_path, concurrent=2, fixed=False)
    train, validation = (
        Path(name).read_text().splitlines() for name in (task.train, task.validation)
    )
    assert len(train) == 480 and len(validation) == 64
    assert task.rungs == [5, 15] and task.reduction_factor == 3


def test_a_folder_with_other_options_is_refused(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"seeds": None, "trials": 2}))
    with pytest.raises(Exception, match="name another folder"):
        measure(Settings(1, 8, 30, 2, False), tmp_path)
