"""Compiles cpu.c once on each machine, for its processor or, by ALIGNERY_CPU, for AVX2."""

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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from align.atomic_write import atomic_path
from align.cpu_features import march
from align.sources import cache_folder

_log = logging.getLogger(__name__)
_SOURCE = Path(__file__).with_name("cpu.c")
_HEADER = _SOURCE.with_name("vectors.h")
_FLAGS = (
    "-O3", "-fopenmp", "-fno-math-errno", "-fno-trapping-math",
    "-ffp-contract=fast", "-shared", "-fPIC",
)  # fmt: skip
_DEFINES = {torch.float32: (), torch.bfloat16: ("-DBF16",)}

#: Time limit of the compiler. A busy old machine takes two minutes.
COMPILE_SECONDS = 300.0
#: How long a process waits for another process to compile before it compiles by itself.
PATIENCE_SECONDS = 300.0

_DIGEST_BYTES = hashlib.sha256().digest_size


@lru_cache(maxsize=4)
def compiled(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The library for this dtype; None if the dtype is not supported or there is no compiler.

    It links to the OpenMP runtime that torch has already loaded, so both share a thread pool.
    `CC` names a compiler other than `cc`; an empty `CC` disables compilation. The library is
    stored in the user's cache folder and shared by all homes and processes.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if dtype not in _DEFINES or not compiler or platform.system() != "Linux":
        return None
    if shutil.which(compiler[0]) is None:
        _log.warning("no C compiler '%s': decoding is slower; set CC or install gcc", compiler[0])
        return None
    command = (*compiler, f"-march={march()}", *_FLAGS, *_DEFINES[dtype])
    message = ""
    for folder in _folders():
        try:
            return _library(command, folder / f"{_digest(command)}.so")
        except subprocess.SubprocessError as error:
            message = _last_line(error)
            break
        except OSError as error:  # e.g. a full disk, or a file system mounted noexec
            message = _last_line(error)
    _log.warning("cpu.c could not be compiled (%s): decoding is slower", message)
    return None


def _library(command: tuple[str, ...], target: Path) -> ctypes.CDLL:
    """Load the library at `target`; compile it first if there is no usable library.

    OSError if it cannot be written or loaded, SubprocessError if it cannot be compiled.
    """
    library = _opened(target)
    if library is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(target.with_suffix(".lock")):
            library = _opened(target)  # another process may have compiled it meanwhile
            if library is None:
                _compile(command, target)
                library = ctypes.CDLL(str(target))
    return library


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a file lock; after PATIENCE_SECONDS go on without it. A lock ends with its process."""
    with ExitStack() as stack:
        with suppress(Timeout, NotImplementedError):  # or the file system has no locks
            stack.enter_context(FileLock(path, timeout=PATIENCE_SECONDS))
        yield


def _opened(target: Path) -> ctypes.CDLL | None:
    """Load the library at `target`; None if it is missing or damaged.

    The dynamic loader does not detect a truncated file, and the process would be killed when it
    accesses the missing part.
    """
    try:
        content = target.read_bytes()
        if hashlib.sha256(content[:-_DIGEST_BYTES]).digest() != content[-_DIGEST_BYTES:]:
            return None
        return ctypes.CDLL(str(target))
    except OSError:
        return None


def _compile(command: tuple[str, ...], target: Path) -> None:
    """Compile to `target` at once, so that no process reads a partial file.

    The digest of the library is appended to the file, where the loader ignores it.
    """
    with atomic_path(target) as compiled_file:
        run = [*command, str(_SOURCE), "-o", str(compiled_file)]
        subprocess.run(run, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS)
        digest = hashlib.sha256(compiled_file.read_bytes()).digest()
        with compiled_file.open("ab") as file:
            file.write(digest)


def _folders() -> Iterator[Path]:
    """Folders for libraries, preferred first: the user's (for all homes), then this home's."""
    shared = _user_cache()
    if shared is not None and _usable(shared):
        yield shared
    yield cache_folder("kernels")


def _user_cache() -> Path | None:
    """The cache folder of the XDG Base Directory Specification, which ignores relative paths."""
    xdg_cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        cache = xdg_cache if xdg_cache.is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # the user has no home folder
        return None
    return cache / "alignery" / "kernels"


def _usable(folder: Path) -> bool:
    """Whether only this user can write to the folder, and can add files to it.

    Libraries loaded from there run as this user, so no other user may be able to place them there.
    """
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for path in (folder.parent, folder):
            path.mkdir(mode=0o700, exist_ok=True)
            status = path.stat()
            if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _last_line(error: Exception) -> str:
    text = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    lines = (text or str(error)).strip().splitlines()
    return lines[-1] if lines else repr(error)


def _digest(command: tuple[str, ...]) -> str:
    """Digest of everything that the library depends on: source, flags, C library and processor.

    The processor is included because several machines may share the file system of a home folder.
    """
    digest = hashlib.sha256(_SOURCE.read_bytes() + _HEADER.read_bytes())
    digest.update(" ".join((*command, *platform.libc_ver())).encode())
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    cpu_lines = [
        line for line in info.splitlines() if line.startswith(("flags", "Features", "model"))
    ]
    digest.update("\n".join(cpu_lines).encode())
    return digest.hexdigest()[:24]
