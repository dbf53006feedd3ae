"""How slow this machine is, by a short piece of what chaos tests do.

They start Python processes that import torch and Ray, run Python and multiply matrices on one
thread each, and do so in two processes at a time. So does this: run as a program it is one of two
such processes, and the time until both have ended is what is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

#: What `best_seconds()` gives on the reference machine, to which the table of costs belongs: a
#: virtual machine with two cores of an AMD EPYC 7003 (Zen 3, 2.45 GHz, AVX2), otherwise idle.
#: To measure it again: python tests/ci/calibration.py seconds
REFERENCE_SECONDS = 3.4
REPEATS = 3


def factor() -> float:
    """How many times the reference's seconds the same work takes here."""
    return best_seconds() / REFERENCE_SECONDS


def best_seconds(repeats: int = REPEATS) -> float:
    """The shortest of several measurements: whatever else the machine does only adds to them."""
    return min(_seconds() for _ in range(repeats))


def _seconds() -> float:
    began = time.monotonic()
    program = [sys.executable, "-P", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen(program, env=environment) for _ in range(2)]
    codes = [one.wait() for one in running]
    if any(codes):
        raise RuntimeError(f"the calibration failed: {' '.join(program)}")
    return time.monotonic() - began


def _work() -> None:
    import ray  # noqa: F401
    import torch

    torch.set_num_threads(1)
    matrix = torch.rand(512, 512)
    for _ in range(150):
        matrix = torch.tanh(matrix @ matrix)
    total = 0
    for number in range(6_000_000):
        total += number % 7


if __name__ == "__main__":
    if sys.argv[1:] == ["seconds"]:
        print(f"{best_seconds(10):.2f}")
    else:
        _work()
