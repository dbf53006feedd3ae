"""A sweep from its first trial to its result, by what workers would report. No Ray."""

import json
from dataclasses import asdict, replace

import pytest

from align.errors import DataError
from align.recipe.blocks import StopWhen
from sweeps.driver import Driver
from sweeps.errors import SweepError, SweepLocked
from sweeps.events import (
    SearchStopped,
    StageFinished,
    StageStarted,
    TrialFinished,
    TrialRetried,
    WorkerWarned,
)
from sweeps.open_sweep import MOST_WARNINGS, OpenSweep
from sweeps.pool.protocols import End
from sweeps.pool.stage_job import StageJob, portable
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import FAILED, FINISHED, RUNNING, STOPPED, Search, begin, read
from tests.sweeps.driving import at, publish

LOST = End("the worker process died", counts=True)


class Sweep:
    """A sweep of two trials, its events, and what its row says."""

    def __init__(self, settings, database, recipe, folder):
        config = recipe.stages["sft"].sweep
        config.trials, config.rungs, config.finalists, config.retries = 2, [], 0, 1
        self.row = begin(database, Search(recipe, "sft"))
        self.events = []
        self.given = settings, database, recipe, folder
        self.open = self.again()

    def again(self):
        settings, database, recipe, _ = self.given
        job = StageJob(
            settings=portable(settings), recipe=recipe, stage="sft", study=self.row.study
        )
        driver = Driver(settings, database, self.events.append, lambda stage: 3)
        self.open = OpenSweep(driver, job, self.row)
        return self.open

    def measure(self, objective):
        """Run the next trial to its end."""
        settings, _, recipe, folder = self.given
        task = self.open.ask()
        publish(settings, recipe, self.row.study, task, folder)
        milestone = json.dumps(asdict(at(2, objective)))
        assert not self.open.take(task, {"milestone": milestone})

    @property
    def state(self):
        return read(self.given[1], self.row.id).state

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def sweep(settings, database, recipe, tmp_path):
    made = Sweep(settings, database, recipe, tmp_path)
    yield made
    made.open.close()


def test_once_all_trials_have_ended_the_best_is_a_version_of_its_line(sweep):
    (started,) = sweep.told(StageStarted)
    assert (started.line, started.trials, started.concurrent) == ("toy/sft", 2, 2)
    sweep.measure(0.4)
    assert not sweep.open.ended and sweep.state == RUNNING
    sweep.measure(0.6)
    result = sweep.open.result
    assert (result.version.name, result.best.number) == ("toy/sft:1", 1)
    assert sweep.open.ended and sweep.open.ask() is None and sweep.state == FINISHED
    (finished,) = sweep.told(StageFinished)
    assert (finished.name, finished.best.objective, finished.reused) == ("toy/sft:1", 0.6, False)


def test_a_finished_sweep_is_returned_as_it_is(sweep):
    sweep.measure(0.4)
    sweep.measure(0.6)
    first = sweep.open.result
    again = sweep.again()
    assert again.ended and again.result.version.name == first.version.name
    assert again.result.trials == first.trials
    assert [event.reused for event in sweep.told(StageFinished)] == [False, True]
    assert len(sweep.told(StageStarted)) == 1


def test_an_error_that_may_hit_all_ends_the_sweep_only_before_anything_was_measured(sweep):
    error = DataError("no rows")
    with pytest.raises(DataError, match="no rows"):
        sweep.open.take(sweep.open.ask(), {"failure": "DataError: no rows", "error": error})
    sweep.open.leave()
    sweep.again()
    sweep.measure(0.4)
    assert not sweep.open.take(sweep.open.ask(), {"failure": "DataError: no rows", "error": error})
    assert [trial.state for trial in sweep.open.result.trials] == ["COMPLETE", "FAIL"]


def test_without_a_complete_trial_there_is_no_result_and_reasons_are_told(sweep):
    sweep.open.take(sweep.open.ask(), {"failure": "loss is NaN"})
    with pytest.raises(SweepError, match=r"trial 0 FAIL \(loss is NaN\); trial 1 FAIL \(no room\)"):
        sweep.open.take(sweep.open.ask(), {"failure": "no room"})
    assert sweep.state == FAILED and sweep.open.result is None


def test_a_warning_of_several_trials_is_told_once_and_their_number_is_bounded(sweep):
    task = sweep.open.ask()
    for texts in (["rows are cut"], ["rows are cut", "a step was skipped"]):
        sweep.open.take(task, {"failure": "loss is NaN", "warnings": json.dumps(texts)})
    assert sweep.told(WorkerWarned) == [
        WorkerWarned("sft", 0, "rows are cut"), WorkerWarned("sft", 0, "a step was skipped"),
    ]  # fmt: skip


def test_the_warnings_of_a_stage_are_bounded(sweep):
    many = json.dumps([f"warning {number}" for number in range(100)])
    sweep.open.take(sweep.open.ask(), {"failure": "loss is NaN", "warnings": many})
    assert len(sweep.told(WorkerWarned)) == MOST_WARNINGS


def test_a_trial_goes_to_another_worker_as_often_as_the_recipe_says(sweep):
    task = sweep.open.ask()
    sweep.open.died(task, LOST)
    assert sweep.open.ask() == task
    (retried,) = sweep.told(TrialRetried)
    assert (retried.number, retried.reason) == (0, LOST.reason)
    sweep.open.died(task, LOST)
    (finished,) = sweep.told(TrialFinished)
    assert (finished.trial.number, finished.trial.state) == (0, "FAIL")
    assert sweep.open.ask().number == 1


def test_stopped_before_anything_is_complete_it_has_no_result(sweep):
    task = sweep.open.ask()
    sweep.open.stop()
    assert sweep.open.ended and sweep.open.result is None and sweep.state == STOPPED
    assert not sweep.open.holds(task) and sweep.open.ask() is None


def test_stopped_later_it_takes_the_best_there_is(sweep):
    sweep.measure(0.4)
    sweep.open.ask()
    result = sweep.open.finish_without_workers()
    assert (result.version.name, result.best.number) == ("toy/sft:1", 0)
    assert (result.trials[1].state, result.trials[1].reason) == ("FAIL", "stopped on request")
    assert sweep.state == FINISHED


def test_another_driver_goes_on_where_it_was_left(sweep):
    sweep.measure(0.4)
    left = sweep.open.ask()
    sweep.open.leave()
    assert sweep.state == STOPPED
    sweep.again()
    assert sweep.state == RUNNING
    assert [trial.state for trial in sweep.told(StageStarted)[1].earlier] == ["COMPLETE", "RUNNING"]
    assert sweep.open.ask().params == left.params


def test_a_search_that_promises_too_little_ends_and_is_registered(sweep):
    sweep.open.close()
    config = sweep.given[2].stages["sft"].sweep
    config.trials, config.stop_when = 6, StopWhen(gain_below=0.1)
    sweep.again()
    for objective in (0.5, 0.51, 0.52):
        assert not sweep.told(SearchStopped)
        sweep.measure(objective)
    (stopped,) = sweep.told(SearchStopped)
    assert stopped.stop.text.endswith(" < 0.1 after 3 of 6 trials")
    assert sweep.state == FINISHED and len(sweep.open.result.trials) == 3


def test_several_trials_that_end_together_finish_the_sweep_once(sweep):
    def measure(index, nll):
        task = sweep.open.ask()
        values = {str(item): nll + item % 5 for item in range(40)}
        milestone = replace(at(index, -nll, rung=nll + 2), values=values)
        if milestone.last:
            publish(*sweep.given[::2], sweep.row.study, task, sweep.given[3])
        sweep.open.take(task, {"milestone": json.dumps(asdict(milestone))})

    config = sweep.given[2].stages["sft"].sweep
    sweep.open.close()
    config.pruner, config.pruner_options, config.rungs = "paired", {"at_least": 1}, [10]
    sweep.again()
    for index in (0, 0, 2, 2):
        measure(index, 1.0)
    config.trials = 4
    sweep.again()
    for _ in range(2):
        measure(0, 9.0)
    assert sweep.open.ask() is None
    assert len(sweep.told(StageFinished)) == 2
    assert [event.trial.number for event in sweep.told(TrialFinished)] == [0, 1, 2, 3]
    assert isinstance(sweep.events[-1], StageFinished)


def test_a_driver_that_lost_the_sweep_to_another_does_not_mark_it_as_stopped(sweep, monkeypatch):
    def lost(self):
        raise SweepLocked("another process drives it")

    task = sweep.open.ask()
    monkeypatch.setattr(StudySession, "check_lock", lost)
    with pytest.raises(SweepLocked):
        sweep.open.take(task, {"failure": "loss is NaN"})
    sweep.open.leave()
    assert sweep.state == RUNNING
