"""What was measured of the base and of published adapters, kept on disk for all trials.

By content: whatever a result depends on is in its key, so nothing kept is ever out of date.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from typing import Any, TypeVar

from filelock import FileLock

from align.precision import device, precision
from align.sources import cache_folder

T = TypeVar("T")

_PACKAGES = ("alignery", "torch", "transformers")


def kept(content: Any, compute: Callable[[], T]) -> T:
    """What `compute` gives, as JSON knows it, computed once on this machine for this content.

    Trials that want the same at the same time wait for the first of them.
    """
    folder = cache_folder("evaluations")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([_machine(), content], sort_keys=True)
    file = folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    with FileLock(f"{file}.lock"):
        with suppress(FileNotFoundError, ValueError):  # none yet, or one that was damaged
            found: T = json.loads(file.read_text(encoding="utf-8"))
            return found
        value = compute()
        fresh = file.with_name(f".{uuid.uuid4().hex}")
        fresh.write_text(json.dumps(value), encoding="utf-8")
        fresh.replace(file)
    return value


@lru_cache(maxsize=1)
def _machine() -> list[str]:
    """Versions and arithmetic, on which the last digits depend."""
    chosen = [str(precision().dtype), str(device())]
    return [*chosen, *(f"{name} {version(name)}" for name in _PACKAGES)]
