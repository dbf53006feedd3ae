"""What was measured of the base and of published adapters, kept for all trials.

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
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from align.artifact_cache import shelf
from align.precision import device, precision
from align.sources import cache_folder

T = TypeVar("T")

_PACKAGES = ("alignery", "torch", "transformers")


def kept(content: Any, compute: Callable[[], T]) -> T:
    """What `compute` gives, as JSON knows it, computed once for this content.

    It is looked for on disk, then on the shelf. Trials of one machine that want the same at the
    same time wait for the first of them.
    """
    folder = cache_folder("evaluations")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([_machine(), content], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    file = folder / f"{key}.json"
    with FileLock(f"{file}.lock"):
        found: T | None = _read(file)
        if found is None and shelf().fetch("evaluations", key, file):
            found = _read(file)
        if found is None:
            found = compute()
            fresh = file.with_name(f".{uuid.uuid4().hex}")
            fresh.write_text(json.dumps(found), encoding="utf-8")
            fresh.replace(file)
    shelf().offer("evaluations", key, file)
    return found


def _read(file: Path) -> Any:
    """None if there is none yet, or a damaged one."""
    with suppress(FileNotFoundError, ValueError):
        return json.loads(file.read_text(encoding="utf-8"))
    return None


@lru_cache(maxsize=1)
def _machine() -> list[str]:
    """Versions and arithmetic, on which the last digits depend."""
    chosen = [str(precision().dtype), str(device())]
    return [*chosen, *(f"{name} {version(name)}" for name in _PACKAGES)]
