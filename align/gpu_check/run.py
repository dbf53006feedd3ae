"""Runs checks one after another. An exception is the FAIL of its check, not the end of the run."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align.errors import AligneryError
from align.gpu_check.check import Check, Outcome, Setting, failed, skipped
from align.gpu_check.privacy import without_paths
from align.gpu_errors import lost_gpu

#: Frames of a traceback that a result holds, the innermost last.
_FRAMES = 8
#: Seconds of checks after which their pace counts as much as what was expected.
_TRUST = 10.0


@dataclass(frozen=True)
class Result:
    """The outcome of a check, its duration, and for an exception where it was raised.

    `frames` are `module:function:line`.
    """

    name: str
    outcome: Outcome
    seconds: float
    frames: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data without paths of this machine."""
        plain: dict[str, Any] = {
            "name": self.name,
            "verdict": self.outcome.verdict,
            "sentence": without_paths(self.outcome.sentence),
            "figures": _plain(self.outcome.figures),
            "seconds": round(self.seconds, 2),
        }
        return plain | ({"frames": list(self.frames)} if self.frames else {})


class CheckProgress:
    """Estimates the time left from what the checks so far took against what was expected."""

    def __init__(self, checks: Sequence[Check], setting: Setting):
        self._expected = [check.expected(setting) for check in checks]
        self._done, self._took = 0.0, 0.0

    def done(self, seconds: float) -> None:
        """The next check took so many seconds."""
        self._done += self._expected.pop(0)
        self._took += seconds

    @property
    def left(self) -> float:
        """Seconds for the checks that are left."""
        factor = (self._took + _TRUST) / (self._done + _TRUST)
        return factor * sum(self._expected)


def run_checks(
    checks: Sequence[Check],
    setting: Setting,
    on_start: Callable[[str, float], None],
    on_result: Callable[[Result, float], None],
) -> list[Result]:
    """The results of all checks. Both functions are also given the seconds that are left.

    After an error of the device every later call of CUDA fails in this process, so the checks after
    it are skipped.
    """
    results: list[Result] = []
    pace, lost = CheckProgress(checks, setting), ""
    for check in checks:
        on_start(check.name, pace.left)
        if lost:
            result = Result(check.name, skipped(f"the card failed in '{lost}': see there"), 0.0)
        else:
            result, fatal = _run(check, setting)
            lost = check.name if fatal else ""
        pace.done(result.seconds)
        results.append(result)
        on_result(result, pace.left)
    return results


def _run(check: Check, setting: Setting) -> tuple[Result, bool]:
    """The result of a check, and whether the device is lost to this process."""
    if check.card_only and not setting.on_card:
        return Result(check.name, skipped(check.card_only), 0.0), False
    started = time.perf_counter()
    try:
        outcome = check.run(setting)
    except Exception as error:  # of any class: each is the result of this check
        seconds = time.perf_counter() - started
        fatal = lost_gpu(error) is not None
        sentence = f"{type(error).__name__}: {_first_line(error)}"
        if not isinstance(error, AligneryError):  # whose messages say themselves what to do
            sentence += "; attach the JSON to a bug report"
        return Result(check.name, failed(sentence), seconds, _frames(error)), fatal
    return Result(check.name, outcome, time.perf_counter() - started), False


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return without_paths(lines[0].rstrip(".")) if lines else "no message"


def _plain(value: Any) -> Any:
    """The value with text in place of numbers that JSON does not have: infinite, or no number."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _frames(error: Exception) -> tuple[str, ...]:
    frames = [
        f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_name}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return tuple(frames[-_FRAMES:])
