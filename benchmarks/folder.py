"""A folder that keeps finished runs, so that a later call goes on with more seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align.atomic_write import write_atomically
from benchmarks.errors import BenchmarkError


def claim(folder: Path, options: Mapping[str, Any], runs: str) -> None:
    """Take the folder for these options; more seeds may be added, all else must be as it was.

    BenchmarkError says that it holds `runs` with other options.
    """
    known, wanted = folder / "settings.json", {**options, "seeds": None}
    if known.exists() and json.loads(known.read_text(encoding="utf-8")) != wanted:
        raise BenchmarkError(f"{folder} holds {runs} with other options: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(known, json.dumps(wanted))
