"""Whole sweeps with fake trials on a real Ray Tune and a real study."""

from pathlib import Path

import pytest

from align.errors import DataError
from cluster.database import open_database
from cluster.registry import open_registry
from cluster.storage import Storage
from sweeps.errors import SweepError
from sweeps.events import MilestoneReported, StageFinished, StageStarted, TrialFinished
from sweeps.sweep import run_sweep
from sweeps.sweep_store import Search, begin, newest
from tests.sweeps.toy_recipe import FAKE


@pytest.fixture
def sweep(local_ray, settings, recipe):
    def run(stage="sft", recipe=recipe, max_concurrent=1, **options):
        """One at a time: starting a second worker is what takes long."""
        options |= {"max_concurrent": max_concurrent, "factory": FAKE}
        return run_sweep(settings, recipe, stage, **options)

    return run


def states(result):
    return {trial.number: trial.state for trial in result.trials}


def checkpoints(settings):
    """Numbers of the newest run's trials that have checkpoints."""
    root = Path(settings.storage) / "sweeps" / newest(open_database(settings)).study
    found = root.glob("trial_*/checkpoints")
    return {int(one.parent.name.removeprefix("trial_")) for one in found}


def test_a_sweep_finds_registers_and_returns_the_best_trial(sweep, settings, recipe, calls):
    events = []

    def listen(event):
        events.append(event)
        if isinstance(event, TrialFinished):
            assert event.trial.number not in checkpoints(settings)

    result = sweep(on_event=listen, max_concurrent=2)

    assert [trial.number for trial in result.trials] == [0, 1, 2, 3]
    assert result.trials[0].params == recipe.stages["sft"].defaults()
    assert result.trials[0].state == "COMPLETE"
    assert result.pruned == sum(trial.state == "PRUNED" for trial in result.trials) >= 1
    complete = [trial for trial in result.trials if trial.state == "COMPLETE"]
    assert result.best.objective == max(trial.objective for trial in complete)
    assert set(result.best.rungs) == {10, 20, 30}
    assert result.best.rungs[10]["accuracy"] > 0
    assert all(trial.step in (10, 20) for trial in result.trials if trial.state == "PRUNED")

    version = open_registry(settings).resolve("toy/sft:1")
    assert version == result.version
    assert version.manifest.params == result.best.params
    assert version.manifest.metrics["objective"] == result.best.objective

    assert isinstance(events[0], StageStarted) and isinstance(events[-1], StageFinished)
    assert sum(isinstance(event, TrialFinished) for event in events) == 4
    reported = [event for event in events if isinstance(event, MilestoneReported)]
    assert len(reported) == sum(len(trial.rungs) for trial in result.trials)
    assert {call["threads"] for call in calls("open")} == {"1"}
    assert len({call["pid"] for call in calls("open")}) <= 2  # actors are reused
    kept = Storage(settings).keys("sweeps/")
    assert kept and not any(key.endswith("/checkpoints") for key in kept)


def test_a_finished_sweep_is_returned_more_trials_continue_it_and_fresh_starts_anew(
    sweep, settings, recipe, calls
):
    first = sweep()
    count = len(calls())
    again = sweep()
    assert (again.study, again.trials, again.version) == (first.study, first.trials, first.version)
    assert len(calls()) == count

    more = recipe.model_copy(deep=True)
    more.stages["sft"].sweep.trials = 5
    longer = sweep(recipe=more)
    assert longer.study == first.study
    assert longer.trials[:4] == first.trials and len(longer.trials) == 5
    assert {call["trial"] for call in calls()[count:]} == {4}

    database, search = open_database(settings), Search(recipe, "sft")
    assert begin(database, search).study == first.study
    assert (begin(database, search, fresh=True).run, first.run) == (2, 1)


def test_bad_trials_fail_with_their_reason_and_the_sweep_goes_on(sweep, behave, calls):
    behave(nan=[1], crash=[2], training_error=[3], die=[0])
    result = sweep()
    assert states(result) == {0: "COMPLETE", 1: "FAIL", 2: "FAIL", 3: "FAIL"}
    reasons = {trial.number: trial.reason for trial in result.trials}
    assert "nan" in reasons[1] and "step 10" in reasons[1]
    assert reasons[2] == "RuntimeError: shapes do not fit"
    assert reasons[3] == "TrainingError: loss is NaN at step 1"
    # A worker that died was replaced, and its trial went on; a crash is tried once more.
    assert len([call for call in calls("advance") if call["trial"] == 2]) == 2
    assert len([call for call in calls("advance") if call["trial"] == 3]) == 1
    assert result.best.number == 0 and result.failed == 3


def test_no_complete_trial_is_an_error_that_lists_the_reasons(sweep, behave, settings, recipe):
    behave(nan=[0, 1, 2, 3])
    with pytest.raises(SweepError, match=r"trial 0 FAIL \(objective is nan at step 10\).*trial 3"):
        sweep()
    assert open_registry(settings).versions() == []
    # A failed sweep is not continued.
    assert begin(open_database(settings), Search(recipe, "sft")).run == 2


def test_an_error_that_would_hit_every_trial_stops_the_sweep_with_that_message(
    sweep, behave, calls
):
    behave(data_error=True)
    with pytest.raises(DataError, match="column 'answer' is missing"):
        sweep()
    assert len(calls("advance")) <= 2
    behave()
    result = sweep()  # mended, it goes on with the same trials
    assert result.run == 1 and [trial.number for trial in result.trials] == [0, 1, 2, 3]
    assert "FAIL" not in states(result).values()


def test_a_failing_listener_ends_the_sweep_with_its_own_error(sweep, settings):
    def listen(event):
        if isinstance(event, MilestoneReported):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        sweep(on_event=listen)
    assert newest(open_database(settings)).state == "stopped"  # and would be continued


def test_a_sweep_that_was_interrupted_ends_like_an_unbroken_one(sweep, recipe):
    unbroken = sweep()
    heard = []

    def listen(event):
        heard.append(isinstance(event, MilestoneReported))
        if sum(heard) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(fresh=True, on_event=listen)
    resumed = sweep()
    assert resumed.run == 2

    def content(result):
        return [
            (one.number, one.state, one.params, {at: m["objective"] for at, m in one.rungs.items()})
            for one in result.trials
        ]

    assert content(resumed) == content(unbroken)
    assert resumed.best.params == unbroken.best.params
    assert resumed.unseen == unbroken.unseen


def test_a_stage_with_a_parent_refuses_to_start_without(sweep):
    with pytest.raises(SweepError, match="takes an adapter of stage 'sft' as its parent"):
        sweep("reward")
    with pytest.raises(SweepError, match="it has sft, reward, grpo"):
        sweep("dpo")


def test_a_trial_that_fits_nowhere_is_refused(sweep):
    with pytest.raises(SweepError, match="needs 64 CPUs"):
        sweep(cpus_per_trial=64)
