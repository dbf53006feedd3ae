"""Compiling cpu.c, once on each machine, for the processor that it runs on."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from align.sources import cache_folder

_log = logging.getLogger(__name__)
_SOURCE = Path(__file__).with_name("cpu.c")
_HEADER = _SOURCE.with_name("vectors.h")
_FLAGS = (
    "-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math",
    "-ffp-contract=fast", "-shared", "-fPIC",
)  # fmt: skip
_DEFINES = {torch.float32: (), torch.bfloat16: ("-DBF16",)}

#: An old machine that has other work takes two minutes.
COMPILE_SECONDS = 300.0
#: After which a process that finds another one compiling does it itself.
PATIENCE_SECONDS = 300.0

_DIGEST_BYTES = hashlib.sha256().digest_size


@lru_cache(maxsize=4)
def compiled(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The library for this dtype; None where the dtype has none or no compiler is at hand.

    It links to the OpenMP runtime that torch has loaded already, so both share one pool of
    threads. `CC` names another compiler than `cc`; an empty `CC` switches compiling off. The
    library is kept in the user's cache folder, for all homes and processes.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if dtype not in _DEFINES or not compiler or platform.system() != "Linux":
        return None
    if shutil.which(compiler[0]) is None:
        _log.warning("no C compiler '%s': decoding is slower; set CC or install gcc", compiler[0])
        return None
    command = (*compiler, *_FLAGS, *_DEFINES[dtype])
    said = ""
    for folder in _folders():
        try:
            return _library(command, folder / f"{_digest(command)}.so")
        except subprocess.SubprocessError as error:
            said = _last_line(error)
            break
        except OSError as error:  # e.g. a full disk, or one that nothing may be run from
            said = _last_line(error)
    _log.warning("cpu.c could not be compiled (%s): decoding is slower", said)
    return None


def _library(command: tuple[str, ...], target: Path) -> ctypes.CDLL:
    """What is at `target`, compiled first where there is nothing that can be used.

    OSError if it cannot be written or loaded, SubprocessError if it cannot be compiled.
    """
    found = _opened(target)
    if found is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(target.with_suffix(".lock")):
            found = _opened(target)  # whoever was first has made it meanwhile
            if found is None:
                _compile(command, target)
                found = ctypes.CDLL(str(target))
    return found


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Wait for others that hold the lock, but not for ever; it ends with its process."""
    with ExitStack() as stack:
        with suppress(Timeout, NotImplementedError):  # or a file system without locks
            stack.enter_context(FileLock(path, timeout=PATIENCE_SECONDS))
        yield


def _opened(target: Path) -> ctypes.CDLL | None:
    """None if there is none, or a damaged one.

    A loader does not notice that the end of a file is missing, and the process would be killed
    once it came there.
    """
    try:
        content = target.read_bytes()
        if hashlib.sha256(content[:-_DIGEST_BYTES]).digest() != content[-_DIGEST_BYTES:]:
            return None
        return ctypes.CDLL(str(target))
    except OSError:
        return None


def _compile(command: tuple[str, ...], target: Path) -> None:
    """Into a temporary name first, so that nobody reads half of it.

    The digest of the library follows at its end, where no loader looks.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder) / target.name
        run = [*command, str(_SOURCE), "-o", str(fresh)]
        subprocess.run(run, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS)
        digest = hashlib.sha256(fresh.read_bytes()).digest()
        with fresh.open("ab") as file:
            file.write(digest)
        fresh.replace(target)


def _folders() -> Iterator[Path]:
    """Where libraries may be kept, best first: for all homes of this user, then in this one."""
    shared = _user_cache()
    if shared is not None and _usable(shared):
        yield shared
    yield cache_folder("kernels")


def _user_cache() -> Path | None:
    """As the XDG Base Directory Specification has it, which ignores a relative path."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        cache = named if named.is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # a user without a home folder
        return None
    return cache / "alignery" / "kernels"


def _usable(folder: Path) -> bool:
    """Whether what lies there can only be this user's, and more can be added.

    What is loaded from there runs as this user, so nobody else may be able to put it there.
    """
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for one in (folder.parent, folder):
            one.mkdir(mode=0o700, exist_ok=True)
            found = one.stat()
            if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _last_line(error: Exception) -> str:
    text = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    said = (text or str(error)).strip().splitlines()
    return said[-1] if said else repr(error)


def _digest(command: tuple[str, ...]) -> str:
    """Of everything that the result depends on: source, flags, C library and this processor.

    A home folder may be on a file system that several machines share.
    """
    digest = hashlib.sha256(_SOURCE.read_bytes() + _HEADER.read_bytes())
    digest.update(" ".join((*command, *platform.libc_ver())).encode())
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    facts = [line for line in info.splitlines() if line.startswith(("flags", "Features", "model"))]
    digest.update("\n".join(facts).encode())
    return digest.hexdigest()[:24]
