"""How far the running part of a run is, and what each part took."""

import io

from rich.console import Console

from sweeps.results.part_times import PartTimes
from tests.waiting import wait_until


def test_a_part_says_how_far_it_is_where_stderr_is_no_terminal():
    printed = io.StringIO()
    times = PartTimes(Console(file=printed, width=100), {"base": 130.0, "total": 900.0}, every=0.02)
    with times.part("base", pieces=2, of="systems"):
        wait_until(lambda: "base, systems: 0/2" in printed.getvalue())
        times.count()
        wait_until(lambda: "base, systems: 1/2, about" in printed.getvalue())
    assert printed.getvalue().endswith(" s of 130 s\n")


def test_the_table_has_each_part_and_the_total_beside_their_budgets():
    printed = Console(file=io.StringIO(), width=100)
    times = PartTimes(printed, {"base": 130.0, "sft": 260.0, "total": 900.0})
    with times.part("base", pieces=1, of="systems"):
        times.count()
    times.seconds["sft"] = 230.4
    with printed.capture() as shown:
        printed.print(times.table())
    rows = [line.split() for line in shown.get().splitlines()]
    assert rows == [
        ["seconds", "took", "budget"],
        ["base", "0", "130"],
        ["sft", "230", "260"],
        ["total", "0", "900"],
    ]
