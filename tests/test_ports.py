"""No process of ours lets in who was not asked in; here an endpoint."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
