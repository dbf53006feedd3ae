"""What goes wrong beside the main thread is logged, and never printed into what a command says."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

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


STRANGE = """
import time
import cluster.head as head
from cluster.errors import ClusterError

def knock(host, port):
    raise UnicodeError("label too long")

head.knock, head.KNOCK_SECONDS = knock, 0.01
try:
    with head.Head("127.0.0.1:9", patience=0.0).watched():
        time.sleep(1000)
except ClusterError as error:
    print(error)
"""


def test_a_head_that_cannot_be_asked_is_lost_and_not_forgotten() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STRANGE],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert done.stdout.startswith("Ray's head at 127.0.0.1:9 does not answer")
    assert done.stderr == ""


HANGS = """
import signal, sys, time
from pathlib import Path
import cluster.head as head

signal.pthread_sigmask(signal.SIG_BLOCK, {head.LOST})  # as if it hung in C++
head.KNOCK_SECONDS = head.CLEAN_UP_SECONDS = 0.01

def last_act():
    Path(sys.argv[1]).touch()
    raise OSError("no such process")

with head.Head("127.0.0.1:9", patience=0.0, last_act=last_act).watched():
    time.sleep(1000)
"""


def test_a_main_thread_that_hangs_is_ended_even_if_nobody_reads_why(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = tmp_path / "done"
    with subprocess.Popen(
        [sys.executable, "-c", HANGS, str(done)],
        stderr=write,
    ) as process:
        os.close(write)
        try:
            assert process.wait(PATIENCE) == 2
        finally:
            process.send_signal(signal.SIGKILL)
    assert done.exists()
