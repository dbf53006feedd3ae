"""`alignery serve run` as a process, with a real, tiny model."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.registry import open_registry
from cluster.settings import Settings
from tests.serve.real_adapters import BASE, installation, real_adapter

pytestmark = pytest.mark.chaos


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Settings]:
    """An installation with a champion."""
    with installation(tmp_path) as settings:
        registry = open_registry(settings)
        registry.register("arithmetic/sft", real_adapter(tmp_path / "sft", "sft", 0))
        registry.promote("arithmetic/sft", 1)
        yield settings


def test_the_command_serves_until_ctrl_c_and_leaves_nothing_behind(home):
    program = [sys.executable, "-c", "import alignery; alignery.main()"]
    sizes = ["--slots", "2", "--slot-tokens", "256", "--kv-gib", "0.5", "--adapters", "1"]
    arguments = ["serve", "run", "--port", "0", "--cpus", "1", *sizes]
    in_background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]  # as scripts start what has an &
    command = [*in_background, *program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        greeting = [running.stdout.readline().strip() for _ in range(6)]
        assert re.fullmatch(rf"serving {BASE} at http://127.0.0.1:\d+/v1", greeting[0])
        assert "arithmetic/sft@champion" in greeting
        processes = psutil.Process(running.pid).children(recursive=True)
        assert processes
        running.send_signal(signal.SIGINT)
        assert running.wait(300) == 0
    _, left = psutil.wait_procs(processes, timeout=60)
    assert left == []
