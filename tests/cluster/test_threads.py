"""What goes wrong beside the main thread is logged, and never printed into what a command says."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import pytest

from cluster.threads import background, log_uncaught

#: Seconds after which a test hangs.
PATIENCE = 120


def test_what_a_thread_raises_is_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)

    def fail() -> None:
        raise LookupError("no such row")

    thread = background("watcher", fail)
    thread.join(PATIENCE)
    assert thread.daemon and not thread.is_alive()
    assert printed == []
    (told,) = [one for one in caplog.records if one.levelno > logging.DEBUG]
    assert told.getMessage() == "thread watcher has ended: LookupError: no such row"
    assert told.exc_info is None


def test_a_librarys_thread_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(threading, "excepthook", log_uncaught)
    thread = threading.Thread(target=lambda: 1 // 0, name="tqdm")
    thread.start()
    thread.join(PATIENCE)
    (told,) = caplog.records
    assert told.levelno == logging.INFO and told.exc_info is not None
    assert "tqdm has ended" in caplog.text and "ZeroDivisionError" in caplog.text


DIES = """
import threading
import alignery
from align.errors import AligneryError

def fail(*_, **__):
    thread = threading.Thread(target=lambda: 1 // 0)
    thread.start()
    thread.join()
    raise AligneryError("one line")

from typer.core import TyperGroup
TyperGroup.resolve_command = fail
alignery.main()
"""


@pytest.mark.parametrize("debug", [False, True])
def test_a_command_prints_its_error_and_no_traceback_of_a_thread(debug: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DIES, *(["--debug"] if debug else []), "recipe", "list"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if debug:
        assert "ZeroDivisionError" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (2, "error: one line\n")
