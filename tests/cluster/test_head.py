"""Ray's head is watched: how long it may be silent, and what follows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from cluster.head import patience_of

#: Seconds after which a test hangs.
PATIENCE = 120


def test_patience_is_always_less_than_rays_own() -> None:
    name = "RAY_gcs_rpc_server_reconnect_timeout_s"
    assert patience_of({}) == 45
    assert patience_of({name: "300"}) == 285
    assert patience_of({name: "10"}) == 5
    assert patience_of({name: "soon"}) == 45


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
