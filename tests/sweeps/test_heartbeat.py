"""A driver's signs of life: given until its end is written, and never in anybody's way. No Ray."""

import logging
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from cluster.errors import DatabaseError
from sweeps import run_store
from sweeps.control import driving
from sweeps.errors import SweepLocked
from sweeps.run_store import RunOptions

#: Seconds after which a test hangs.
PATIENCE = 120


@pytest.fixture
def launch(database, recipe):
    return run_store.create(database, recipe, ["sft"], RunOptions())


@pytest.fixture
def hasty(monkeypatch):
    """One sign of life after the other."""
    monkeypatch.setattr("sweeps.heartbeat.BEAT_SECONDS", 0.0)


@pytest.fixture
def printed(monkeypatch):
    """What Python would print a traceback of."""
    died = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    return died


class Beats:
    """Stands in for `Control.beat`: counts, and fails as it is told to."""

    def __init__(self, error=None):
        self._error = error
        self._given = threading.Semaphore(0)

    def __call__(self, _control=None):
        self._given.release()
        if self._error is not None:
            raise self._error

    def wait(self, number):
        for _ in range(number):
            assert self._given.acquire(timeout=PATIENCE)


@pytest.mark.parametrize("error", [None, SweepLocked("another one is first"), ValueError("no")])
def test_none_is_given_once_the_end_is_written(
    settings, database, launch, monkeypatch, hasty, printed, error
):
    """A launch that came second is deleted: a sign of life after that would find no row."""
    alive = []
    for name in ("forget", "update"):
        write = getattr(run_store, name)

        def noted(database, identity, write=write, **fields):
            if "beat_at" not in fields:
                alive.append([one.name for one in threading.enumerate()])
            return write(database, identity, **fields)

        monkeypatch.setattr(run_store, name, noted)
    expected = pytest.raises(type(error)) if error else nullcontext()
    with expected, driving(settings, database) as begin:
        begin(launch)
        alive.clear()
        if error is not None:
            raise error
    assert alive and not any("alignery-beat" in names for names in alive)
    assert printed == []


@pytest.mark.parametrize("error", [DatabaseError("it is away"), LookupError("no such row")])
def test_what_goes_wrong_is_logged_and_the_next_one_is_tried(
    settings, database, launch, monkeypatch, hasty, printed, caplog, error
):
    beats = Beats(error)
    monkeypatch.setattr("sweeps.control.Control.beat", beats)
    caplog.set_level(logging.INFO)
    with driving(settings, database) as begin:
        begin(launch)
        beats.wait(3)
    assert printed == []
    assert {one.levelno for one in caplog.records} == {logging.INFO}
    assert str(error) in caplog.text


def test_a_closed_database_is_no_traceback_either(
    settings, database, launch, monkeypatch, hasty, printed, capfd
):
    beats = Beats()

    def beat(control):
        database.close()
        (Path(settings.home) / "alignery.db").unlink(missing_ok=True)
        try:
            run_store.read(database, launch.id)
        finally:
            beats()

    monkeypatch.setattr("sweeps.control.Control.beat", beat)
    with pytest.raises(DatabaseError), driving(settings, database) as begin:
        begin(launch)
        beats.wait(2)
    assert printed == []
    assert capfd.readouterr().err == ""


def test_a_long_silence_is_told_once(
    settings, database, launch, monkeypatch, hasty, printed, caplog
):
    beats = Beats(DatabaseError("it is away"))
    monkeypatch.setattr("sweeps.control.Control.beat", beats)
    monkeypatch.setattr("sweeps.heartbeat.SILENT_SECONDS", 0.0)
    with driving(settings, database) as begin:
        begin(launch)
        beats.wait(5)
    told = [one.message for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "no sign of life" in told[0] and "it is away" in told[0] and "interrupted" in told[0]


def test_a_process_that_ends_meanwhile_prints_nothing():
    code = (
        "import sweeps.heartbeat as heart\n"
        "heart.BEAT_SECONDS = 0.0\n"
        "def beat(): raise RuntimeError('cannot schedule new futures after shutdown')\n"
        "heart.beating(beat).__enter__()\n"  # nobody ends it but the process
        "raise SystemExit('error: one line')"
    )
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 1
        assert done.stderr == "error: one line\n"
