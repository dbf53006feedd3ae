"""A cache of measurements of the base and of published adapters, shared by all trials.

A key holds everything that its result depends on, so entries never become stale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from align.artifact_cache import shelf
from align.atomic_write import write_atomically
from align.precision import device, precision
from align.sources import cache_folder

T = TypeVar("T")

_PACKAGES = ("alignery", "torch", "transformers")
#: A number that increases whenever the same versions compute other digits than before. 2: rotary
#: frequencies stay in fp32, and on a GPU LoRA is one product over the bank.
ARITHMETIC = 2


def kept(content: Any, compute: Callable[[], T]) -> T:
    """The result of `compute`, a JSON value, computed once for this content.

    The disk is searched first, then the artifact cache. Trials of a machine that need the same
    result at the same time wait for the first of them.
    """
    folder = cache_folder("evaluations")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([_machine(), content], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    file = folder / f"{key}.json"
    with FileLock(f"{file}.lock"):
        result: T | None = _read(file)
        if result is None and shelf().fetch("evaluations", key, file):
            result = _read(file)
        if result is None:
            result = compute()
            write_atomically(file, json.dumps(result))
    shelf().offer("evaluations", key, file)
    return result


def _read(file: Path) -> Any:
    """The file's value; None if the file is missing or damaged."""
    with suppress(FileNotFoundError, ValueError):
        return json.loads(file.read_text(encoding="utf-8"))
    return None


@lru_cache(maxsize=1)
def _machine() -> list[str]:
    """Versions, dtype and device, on which the last digits of results depend."""
    arithmetic = [str(ARITHMETIC), str(precision().dtype), str(device())]
    return [*arithmetic, *(f"{name} {version(name)}" for name in _PACKAGES)]
