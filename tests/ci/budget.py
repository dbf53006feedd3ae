"""What is decided about chaos tests and time, as plain functions of a table of costs.

The table has a section for each kind of thing that tests protect and each file of tests, in the
order in which they are to run: `[results."tests/sweeps/chaos/test_kills.py"]`. A line gives the
seconds of a test on the reference machine. `test_it` stands for all of its parameters that have no
line of their own, such as `"test_it[2]"`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Of a test that the table does not know.
DEFAULT_SECONDS = 120.0
#: A test is begun if there is time for so many times what it is expected to take.
SAFETY = 1.25
#: So many seconds of finished tests tell as much of a machine's speed as its calibration.
CALIBRATION_WEIGHT = 120.0
#: How the reason begins for which a test is not run.
NO_TIME = "no time left"


@dataclass(frozen=True)
class Cost:
    """Of one test: what it protects, its place among all tests, seconds on the reference."""

    protects: str
    place: int
    seconds: float


def read_costs(table: str) -> dict[str, Cost]:
    """The table's lines by pytest's id of the test, with or without its parameters."""
    costs: dict[str, Cost] = {}
    for protects, files in tomllib.loads(table).items():
        for file, tests in files.items():
            for test, seconds in tests.items():
                costs[f"{file}::{test}"] = Cost(protects, len(costs), float(seconds))
    return costs


def entry(costs: Mapping[str, Cost], test: str) -> str | None:
    """The id by which the table knows a test, if it does."""
    return next((one for one in (test, test.partition("[")[0]) if one in costs), None)


def cost_of(costs: Mapping[str, Cost], test: str) -> Cost:
    """Of a test; one that the table does not know comes last."""
    found = entry(costs, test)
    return costs[found] if found else Cost("unknown", len(costs), DEFAULT_SECONDS)


def unknown(costs: Mapping[str, Cost], tests: Iterable[str]) -> list[str]:
    """Tests that the table does not know."""
    return [test for test in tests if entry(costs, test) is None]


@dataclass
class Pace:
    """How many times the reference machine's seconds tests take here.

    Calibration tells at first; the more tests have finished, the more they tell.
    """

    calibrated: float
    expected: float = 0.0
    measured: float = 0.0

    def finished(self, expected: float, measured: float) -> None:
        """A test that should take so many seconds on the reference took so many here."""
        self.expected += expected
        self.measured += measured

    @property
    def factor(self) -> float:
        """At least 1: much of what tests do is waiting, which no machine makes shorter."""
        known = CALIBRATION_WEIGHT * self.calibrated + self.measured
        return max(1.0, known / (CALIBRATION_WEIGHT + self.expected))


def time_missing(seconds: float, factor: float, left: float) -> str | None:
    """Why a test of so many reference seconds is not begun; None if it is."""
    needed = seconds * factor * SAFETY
    if needed <= left:
        return None
    return f"{NO_TIME}: it may need {needed:.0f} s here, and there are {max(left, 0):.0f}"


def with_costs(table: str, measured: Mapping[str, float]) -> str:
    """The table with what was measured: of several parameters on one line, the longest.

    Lines of other tests, comments and the order stay.
    """
    costs = read_costs(table)
    longest: dict[str, float] = {}
    for test, seconds in measured.items():
        if found := entry(costs, test):
            longest[found] = max(seconds, longest.get(found, 0.0))
    file, lines = "", []
    for line in table.splitlines():
        if header := re.fullmatch(r'\[\w+\."(.+)"\]', line):
            file = header[1]
        elif (told := re.fullmatch(r'("?)([^"=]+)\1 = \S+(.*)', line)) and (
            seconds := longest.get(f"{file}::{told[2]}")
        ):
            line = f"{told[1]}{told[2]}{told[1]} = {math.ceil(seconds)}{told[3]}"
        lines.append(line)
    return "\n".join(lines) + "\n"
