"""The result of a run as JSON, printed and stored for bug reports and for `recipe fit`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from align.atomic_write import write_atomically
from align.gpu_check import facts
from align.gpu_check.check import Setting, Verdict
from align.gpu_check.privacy import without_paths
from align.gpu_check.run import Result
from align.memory.measured import result_file


def describe(setting: Setting) -> dict[str, Any]:
    """What is checked, without paths and names; asked before a check can lose the card."""
    return {
        "card": facts.card() if setting.on_card else None,
        "base": without_paths(setting.base),
        "machine": facts.machine(),
        "versions": facts.versions(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def verdict_of(results: Sequence[Result]) -> Verdict:
    """FAIL if any check failed, else PASS; SKIP if none passed."""
    verdicts = {result.outcome.verdict for result in results}
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if "PASS" in verdicts else "SKIP"


def to_json(results: Sequence[Result], described: dict[str, Any]) -> dict[str, Any]:
    """The whole result of what `describe` has described."""
    return {
        "verdict": verdict_of(results),
        "checks": [result.to_json() for result in results],
        "seconds": round(sum(result.seconds for result in results), 1),
        **described,
    }


def store(result: dict[str, Any]) -> Path:
    """Write a result to the home folder, in place of an earlier one of the same card."""
    card = result["card"]
    file = result_file("cpu" if card is None else card["name"])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(result, ensure_ascii=False, indent=2) + "\n")
    return file
