"""What a report is made of, read from the installation."""

import optuna
import pytest

from sweeps.errors import SweepError
from sweeps.report.gather import gather
from sweeps.run_store import add_remark, find, recipe_of, rows_of, update
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import Search, begin
from sweeps.sweep_store import update as update_row
from tests.sweeps.driving import at


@pytest.fixture
def row(settings, database, recipe, launch):
    made = begin(database, Search(recipe, "sft"), launch=launch(driver="host:12").id)
    with StudySession(settings, database, made.study, recipe.stages["sft"]) as bridge:
        bridge.report(bridge.ask().number, at(0, 0.5))
        bridge.ask()
        bridge.release(1)
    return made


def test_a_run_has_the_stages_that_began_and_those_that_wait(settings, database, row):
    report = gather(settings, database, find(database, "toy"))
    assert (report.name, report.base, report.waiting) == ("toy", "tiny-random", ("reward", "grpo"))
    (stage,) = report.stages
    assert (stage.line, stage.run, stage.objective, stage.wanted) == ("toy/sft", 1, "accuracy", 4)
    assert stage.rungs == (10, 20) and stage.totals == {0: 30, 1: 30}
    assert [trial.objective for trial in stage.trials] == [0.5, None]
    assert {one.title for one in stage.parameters} == {"lr", "rank"}
    assert report.about["Driver"] == "host:12" and "Job" not in report.about
    assert report.packages["optuna"] == optuna.__version__
    assert "name: toy" in report.recipe


def test_a_stage_has_its_remarks(settings, database, row):
    assert add_remark(database, row.launch_id, "sft", "2 of 9 train rows are cut")
    assert not add_remark(database, row.launch_id, "sft", "2 of 9 train rows are cut")
    (stage,) = gather(settings, database, find(database, "toy")).stages
    assert stage.remarks == ("2 of 9 train rows are cut",)


def test_of_a_line_it_is_that_sweep_alone(settings, database, row):
    report = gather(settings, database, find(database, "toy/sft"))
    assert (report.name, report.state, report.waiting) == ("toy/sft", "running", ())
    assert len(report.stages) == 1


def test_the_reason_of_a_run_is_told(settings, database, row, launch):
    update(database, find(database, "toy").launch.id, state="failed", reason="no room")
    about = gather(settings, database, find(database, "toy")).about
    assert about["Run"].endswith("failed (no room)") and about["Ended"].endswith(" UTC")


def test_a_recipe_of_an_earlier_version_is_one_clear_error(settings, database, row):
    update_row(database, row.id, recipe={"name": "toy", "stages": 3})
    with pytest.raises(
        SweepError,
        match=r"of another version.* does not read it: missing field 'base'.*status toy/sft --json",
    ):
        gather(settings, database, find(database, "toy/sft"))


def test_so_is_that_of_a_whole_run(settings, database, row):
    """Its sweeps are listed all the same."""
    old = {"name": "toy", "stages": 3}
    update(database, find(database, "toy").launch.id, recipe=old)
    target = find(database, "toy")
    assert [sweep.line for sweep in rows_of(database, target.launch)] == ["toy/sft"]
    with pytest.raises(SweepError, match=r"toy was searched with is of another version"):
        gather(settings, database, target)
    with pytest.raises(SweepError, match=r"of another version.*status toy --json"):
        recipe_of(target.launch)
