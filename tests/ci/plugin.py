"""Chaos tests in the order of the table of costs, and as many as there is time for.

ALIGNERY_CHAOS_UNTIL, in seconds since the epoch, is when they must have ended; without it all run.
`--record-costs` writes what tests took into the table.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest

from tests.ci import budget, calibration

UNTIL = "ALIGNERY_CHAOS_UNTIL"
COSTS = Path(__file__).with_name("costs.toml")
#: Ids of all chaos tests that were collected, whether or not they were selected.
COLLECTED = pytest.StashKey[list[str]]()
NOT_RUN = f"not run: {budget.NO_TIME}"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos")
    group.addoption("--chaos-costs", type=Path, default=COSTS, help="the table of costs")
    group.addoption(
        "--record-costs", action="store_true", help="write what chaos tests took into the table"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Chaos(config), "alignery-chaos")


def chaotic(items: list[pytest.Item]) -> list[pytest.Item]:
    return [one for one in items if one.get_closest_marker("chaos")]


class Chaos:
    """What is known in one run of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self.table: Path = config.getoption("--chaos-costs")
        self.costs = budget.read_costs(self.table.read_text(encoding="utf-8"))
        self.until = float(os.environ[UNTIL]) if os.environ.get(UNTIL) else None
        self.recording: bool = config.getoption("--record-costs")
        self.selected = 0
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.broken_off: set[str] = set()  # skipped or failed: they tell nothing of the machine
        self.passed: dict[str, float] = {}
        self.not_run: dict[str, str] = {}

    @cached_property
    def pace(self) -> budget.Pace:
        return budget.Pace(calibration.factor())

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Iterator[None]:
        config.stash[COLLECTED] = [one.nodeid for one in chaotic(items)]
        yield  # after this, what was not selected is gone
        chaos = chaotic(items)
        if len(chaos) == len(items):  # among others, they stay beside those of their modules
            items.sort(key=lambda one: budget.cost_of(self.costs, one.nodeid).place)
        self.selected = len(chaos)

    def pytest_report_collectionfinish(self, config: pytest.Config) -> list[str]:
        timed = self.recording or self.until is not None
        if not timed or not self.selected or config.option.collectonly:
            return []
        told = f"chaos: this machine takes {self.pace.factor:.2f} times the reference's seconds"
        return [told if self.until is None else f"{told}; {self.left():.0f} s are left"]

    def left(self) -> float:
        return float("inf") if self.until is None else self.until - time.time()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self.until is None or not chaotic([item]):
            return
        cost = budget.cost_of(self.costs, item.nodeid)
        reason = budget.time_missing(cost.seconds, self.pace.factor, self.left())
        if reason:
            pytest.skip(reason)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "chaos" not in report.keywords:
            return
        test = report.nodeid
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if reason.startswith(budget.NO_TIME):
                self.not_run[test] = reason
        self.seconds[test] += report.duration
        if not report.passed:
            self.broken_off.add(test)
        elif report.when == "teardown" and test not in self.broken_off:
            self.passed[test] = self.seconds[test]
            if self.until is not None:
                expected = budget.cost_of(self.costs, test).seconds
                self.pace.finished(expected, self.seconds[test])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.not_run:
            terminalreporter.section(NOT_RUN)
            for test, reason in self.not_run.items():
                protects = budget.cost_of(self.costs, test).protects
                terminalreporter.line(f"{test} (protects {protects}): {reason}")
        if self.recording:
            self.record(terminalreporter)

    def record(self, terminalreporter: pytest.TerminalReporter) -> None:
        calibrated = self.pace.calibrated
        reference = {test: seconds / calibrated for test, seconds in self.passed.items()}
        table = self.table.read_text(encoding="utf-8")
        self.table.write_text(budget.with_costs(table, reference), encoding="utf-8")
        terminalreporter.section(f"costs recorded in {self.table}")
        for test in budget.unknown(self.costs, reference):
            terminalreporter.line(f"write a line for {test}: {reference[test]:.0f}")
