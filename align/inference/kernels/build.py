"""Compiling cpu.c, once on each machine, for the processor that it runs on."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import torch

from align.sources import cache_folder

_log = logging.getLogger(__name__)
_SOURCE = Path(__file__).with_name("cpu.c")
_HEADER = _SOURCE.with_name("vectors.h")
_FLAGS = (
    "-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math",
    "-ffp-contract=fast", "-shared", "-fPIC",
)  # fmt: skip
_DEFINES = {torch.float32: (), torch.bfloat16: ("-DBF16",)}


@lru_cache(maxsize=4)
def compiled(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The library for this dtype; None where the dtype has none or no compiler is at hand.

    It links to the OpenMP runtime that torch has loaded already, so both share one pool of
    threads. `CC` names another compiler than `cc`; an empty `CC` switches compiling off.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if dtype not in _DEFINES or not compiler or platform.system() != "Linux":
        return None
    if shutil.which(compiler[0]) is None:
        _log.warning("no C compiler '%s': decoding is slower; set CC or install gcc", compiler[0])
        return None
    command = (*compiler, *_FLAGS, *_DEFINES[dtype])
    target = cache_folder("kernels") / f"{_digest(command)}.so"
    try:
        if not target.exists():
            _compile(command, target)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        _log.warning("cpu.c could not be compiled (%s): decoding is slower", said[-1:])
        return None


def _compile(command: tuple[str, ...], target: Path) -> None:
    """Into a temporary name first: several processes may start at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder) / target.name
        run = [*command, str(_SOURCE), "-o", str(fresh)]
        subprocess.run(run, check=True, capture_output=True, text=True, timeout=120)
        fresh.replace(target)


def _digest(command: tuple[str, ...]) -> str:
    """Of everything that the result depends on: source, flags, and this processor."""
    digest = hashlib.sha256(_SOURCE.read_bytes() + _HEADER.read_bytes())
    digest.update(" ".join(command).encode())
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    facts = [line for line in info.splitlines() if line.startswith(("flags", "Features", "model"))]
    digest.update("\n".join(facts).encode())
    return digest.hexdigest()[:24]
