"""Asking a driver, and telling whether there is one. No Ray."""

import subprocess
import sys
from datetime import timedelta

import pytest

from cluster.database.tables import now
from cluster.registry import open_registry
from sweeps import run_store, sweep_store
from sweeps.control import (
    Control,
    check_free,
    driving,
    is_driven,
    noting,
    pause,
    state_of,
    stop,
    wait_until_obeyed,
)
from sweeps.errors import SweepLocked, SweepPaused
from sweeps.events import StageStarted, WorkerWarned
from sweeps.run_store import RunOptions
from sweeps.study.storage import read_trials
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import Search, begin
from tests.sweeps.driving import at, publish


@pytest.fixture
def launch(database, recipe):
    recipe.stages["sft"].sweep.finalists = 0
    return run_store.create(database, recipe, ["sft"], RunOptions())


@pytest.fixture
def row(database, recipe, launch):
    return begin(database, Search(recipe, "sft"), launch=launch.id)


@pytest.fixture
def now_and_then(monkeypatch):
    """Nothing is remembered between two looks."""
    monkeypatch.setattr("sweeps.control.LOOK_SECONDS", 0.0)


def test_a_driver_hears_what_is_asked_of_it_and_of_its_lines(
    settings, database, launch, row, now_and_then
):
    control = Control(database, launch.id)
    assert (control.asked(), control.asked(row.line), control.asked("toy/dpo")) == ("", "", "")
    sweep_store.update(database, row.id, request="stop")
    assert (control.asked(), control.asked(row.line)) == ("", "stop")
    run_store.update(database, launch.id, request="pause")
    assert control.asked() == "pause"
    assert launch.beat_at is None
    control.beat()
    assert run_store.read(database, launch.id).beat_at is not None


def ended(settings, database, launch, error=None):
    try:
        with driving(settings, database) as begin:
            begin(launch)
            assert is_driven(settings, database, launch)
            assert run_store.read(database, launch.id).state == "running"
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    assert not is_driven(settings, database, launch)
    row = run_store.read(database, launch.id)
    return row.state, row.reason


def test_a_launch_knows_how_it_ended(settings, database, launch):
    for error, expected in (
        (None, ("finished", "")),
        (SweepPaused("toy"), ("paused", "paused on request")),
        (KeyboardInterrupt(), ("stopped", "stopped by Ctrl-C")),
        (SystemExit(143), ("stopped", "stopped by SIGTERM")),
        (SystemExit(129), ("stopped", "stopped by the end of its terminal")),
        (ValueError("no good"), ("failed", "ValueError: no good")),
    ):
        assert ended(settings, database, launch, error) == expected
    with driving(settings, database) as begin:
        begin(launch)
        run_store.update(database, launch.id, request="stop")
    kept = run_store.read(database, launch.id)
    assert (kept.state, kept.reason, kept.request) == ("stopped", "stopped on request", "")


def test_a_second_driver_is_told_and_leaves_no_trace(settings, database, launch, recipe):
    with driving(settings, database) as begin:
        begin(launch)
        with pytest.raises(SweepLocked, match="already driven by process"):
            check_free(settings, database, launch)
        late = run_store.create(database, recipe, ["sft"], RunOptions())
        with pytest.raises(SweepLocked), driving(settings, database) as start:
            start(late)
            raise SweepLocked("sweep toy/sft/1-abc is already driven")
        assert [one.id for one in run_store.launches(database)] == [launch.id]


def test_sweeps_that_a_launch_drives_are_noted(database, recipe, launch):
    row = begin(database, Search(recipe, "sft"))
    heard = []
    listen = noting(database, launch.id, heard.append)
    event = StageStarted("toy/sft", "sft", row.run, 4, 30, "accuracy", False, 1)
    listen(event)
    assert heard == [event]
    assert sweep_store.read(database, row.id).launch_id == launch.id


def test_remarks_on_rows_and_warnings_are_told_once_and_kept(database, recipe):
    options = RunOptions(remarks={"sft": ["2 of 9 train rows are cut"]})
    launch = run_store.create(database, recipe, ["sft"], options)
    row = begin(database, Search(recipe, "sft"), launch=launch.id)
    heard = []
    listen = noting(database, launch.id, heard.append)
    listen(StageStarted("toy/sft", "sft", row.run, 4, 30, "accuracy", False, 1, notes=("warm",)))
    assert heard.pop().notes == ("warm", "2 of 9 train rows are cut")
    warned = WorkerWarned("sft", 3, "2 steps were skipped")
    for _ in range(2):
        listen(warned)
    assert heard == [warned]
    assert run_store.remarks_on(database, row) == [
        "2 of 9 train rows are cut", "trial 3 warned: 2 steps were skipped",
    ]  # fmt: skip


def test_what_should_run_and_has_no_driver_is_interrupted(settings, database, launch):
    run_store.update(database, launch.id, driver="process 1 on elsewhere", beat_at=now())

    def state():
        return state_of(settings, database, run_store.read(database, launch.id))

    assert state() == "running"  # it beat just now, wherever it is
    run_store.update(database, launch.id, beat_at=now() - timedelta(seconds=31))
    assert state() == "interrupted"
    with driving(settings, database) as begin:
        begin(launch)
        run_store.update(database, launch.id, beat_at=now() - timedelta(seconds=31))
        assert state() == "running"  # silent, but it holds its lock
    assert state() == "finished"


def test_a_killed_driver_of_this_machine_is_noticed_at_once(settings, database, launch, tmp_path):
    code = (
        "from cluster.settings import Settings; from cluster.database import open_database\n"
        "from sweeps.control import driving; from sweeps.run_store import read\n"
        "import os, signal\n"
        f"d = open_database(Settings()); l = read(d, {launch.id})\n"
        "with driving(Settings(), d) as begin: begin(l); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, timeout=300)
    kept = run_store.read(database, launch.id)
    assert kept.state == "running" and state_of(settings, database, kept) == "interrupted"


def test_a_dead_driver_is_marked_as_paused(settings, database, launch):
    assert pause(settings, database, launch) is False
    assert run_store.read(database, launch.id).state == "paused"


def test_a_living_driver_is_asked(settings, database, launch, row):
    with driving(settings, database) as begin:
        begin(launch)
        assert pause(settings, database, launch) is True
        assert run_store.read(database, launch.id).request == "pause"
        assert stop(settings, database, launch, row) is True
        assert sweep_store.read(database, row.id).request == "stop"
        sweep_store.update(database, row.id, state="finished")  # as the pool does
        assert wait_until_obeyed(settings, database, launch, row)
    assert wait_until_obeyed(settings, database, launch)


def test_waiting_ends_with_a_driver_that_died(settings, database, launch, row):
    sweep_store.update(database, row.id, request="stop")
    assert not wait_until_obeyed(settings, database, launch, row)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_stopping_without_a_driver_takes_the_best_there_is(
    settings, database, launch, row, recipe, tmp_path, complete, whole
):
    with StudySession(settings, database, row.study, recipe.stages["sft"]) as bridge:
        if complete:
            done = bridge.ask()
            for index in range(3):
                bridge.report(done.number, at(index, 0.5))
            publish(settings, recipe, row.study, done, tmp_path)
        left = bridge.ask()
    assert stop(settings, database, launch, None if whole else row) is False
    trials = {one.number: one for one in read_trials(settings, row.study)}
    assert (trials[left.number].state, trials[left.number].reason) == ("FAIL", "stopped on request")
    now_row = sweep_store.read(database, row.id)
    names = [one.name for one in open_registry(settings).versions("toy/sft")]
    assert (now_row.state, names) == (("finished", ["toy/sft:1"]) if complete else ("stopped", []))
    assert run_store.read(database, launch.id).state == ("stopped" if whole else "running")
