"""No process of ours lets in who was not asked in: sweep, job, simulated machines."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from cluster.simulated import simulated_head, simulated_pool
from tests.ports import complaints, family, listeners
from tests.test_ports import WAIT_SECONDS, running, wait_until

pytestmark = pytest.mark.chaos


def test_a_sweep_does(home: Path, tmp_path: Path) -> None:
    def trial_runs() -> bool:
        return any("Trial" in name or "trainable" in name.lower() for name in names(started[0]))

    with running("sweep", "run", "arithmetic-smoke", "--only", "sft") as started:
        wait_until(trial_runs, *started)
        sockets = listeners(family(started[0].pid))
        assert complaints(sockets, None, tmp_path / "marker") == []
        assert len(sockets) > 5


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
