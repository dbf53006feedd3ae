"""No process of ours lets in who was not asked in: endpoint, sweep, job, simulated machines."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cluster.simulated import simulated_head, simulated_pool
from tests.ports import complaints, family, listeners

BASE = "tiny-random"
#: What a hang takes; nothing is measured by it.
WAIT_SECONDS = 300


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`alignery …` until the block ends, and the file that it prints to."""
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder, "printed")
        with printed.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", "import alignery; alignery.main()", *arguments],
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            yield process, printed
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(WAIT_SECONDS)


def wait_until(true: Callable[[], object], process: subprocess.Popen[str], printed: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert process.poll() is None and time.monotonic() < deadline, printed.read_text()
        time.sleep(0.2)


def test_an_endpoint_listens_on_loopback_and_refuses_who_has_no_token(
    home: Path, tmp_path: Path
) -> None:
    with running("serve", "run", "--base", BASE, "--cpus", "1", "--port", "0") as started:
        wait_until(lambda: "Ctrl-C stops it" in started[1].read_text(), *started)
        found = re.search(r"http://127\.0\.0\.1:(\d+)", started[1].read_text())
        assert found is not None
        sockets = listeners(family(started[0].pid))
        assert complaints(sockets, int(found.group(1)), tmp_path / "marker") == []
        # Ray's own, and a server for siblings in each of the three replicas.
        assert len(sockets) > 10


@pytest.mark.chaos
def test_a_sweep_does(home: Path, tmp_path: Path) -> None:
    def trial_runs() -> bool:
        return any("Trial" in name or "trainable" in name.lower() for name in names(started[0]))

    with running("sweep", "run", "arithmetic-smoke", "--only", "sft") as started:
        wait_until(trial_runs, *started)
        sockets = listeners(family(started[0].pid))
        assert complaints(sockets, None, tmp_path / "marker") == []
        assert len(sockets) > 5


@pytest.mark.chaos
def test_a_job_and_the_head_that_takes_it_do(tmp_path: Path) -> None:
    from ray.job_submission import JobSubmissionClient

    with (
        tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as folder,
        simulated_head(Path(folder)) as address,
    ):
        code = "import ray, time; ray.init(); print('it runs', flush=True); time.sleep(600)"
        client = JobSubmissionClient(address)
        job = client.submit_job(entrypoint=f'{sys.executable} -c "{code}"')
        deadline = time.monotonic() + WAIT_SECONDS
        while "it runs" not in client.get_job_logs(job):
            assert time.monotonic() < deadline, client.get_job_logs(job)
            time.sleep(0.5)
        sockets = listeners(family(os.getpid()))
        assert complaints(sockets, None, tmp_path / "marker") == []
        assert int(address.rpartition(":")[2]) in {one.port for one in sockets}
        client.stop_job(job)


@pytest.mark.chaos
def test_simulated_machines_do(tmp_path: Path) -> None:
    with simulated_pool() as pool:
        pool.join()
        pool.settle()
        sockets = listeners(family(os.getpid()))
        assert complaints(sockets, None, tmp_path / "marker") == []
        assert len(sockets) > 5


def names(process: subprocess.Popen[str]) -> list[str]:
    """What the processes of a program are called."""
    found = []
    for one in family(process.pid):
        try:
            found.append(" ".join(one.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found
