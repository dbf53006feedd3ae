"""A report as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.cases import Case
from benchmarks.results import RATIOS, Row, ratios


def print_report(rows: Sequence[Row], console: Console) -> None:
    """Speeds, then ratios beside their targets."""
    console.print(_speeds(rows))
    console.print()
    console.print(_ratios(rows))


def _speeds(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("case")
    for name in ("requests", "adapters", "ranks"):
        table.add_column(name, justify="right")
    table.add_column("engine")
    for name in ("tokens/s", "runs", "right", "longest wait"):
        table.add_column(name, justify="right")
    for row in rows:
        right = f"{min(one.mean for one in row.agreements):.1%}"
        wait = f"{max(row.longest_waits):.1f} s" if row.longest_waits else ""
        table.add_row(
            row.case.name,
            str(row.case.requests * row.case.completions),
            str(row.case.adapters),
            ranks_text(row.case),
            row.engine,
            Text(f"{row.speed:.1f}", style="bold" if row.engine == "alignery" else ""),
            f"{min(row.speeds):.0f}–{max(row.speeds):.0f}",
            Text(right, style="" if row.good else "red"),
            wait,
        )
    return table


def _ratios(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("ratio")
    for name in ("measured", "to reach", "stretch"):
        table.add_column(name, justify="right")
    table.add_column("what it is")
    for name, value in ratios(rows).items():
        ratio = RATIOS[name]
        reached = value is not None and ratio.target is not None and value >= ratio.target
        missed = value is not None and ratio.target is not None and not reached
        table.add_row(
            name,
            Text(_number(value), style="green" if reached else "red" if missed else ""),
            _number(ratio.target),
            _number(ratio.stretch),
            ratio.meaning,
        )
    return table


def ranks_text(case: Case) -> str:
    """`8`, or `4–64` for several ranks; nothing without adapters."""
    ranks = {case.rank(number) for number in range(case.adapters)}
    if len(ranks) < 2:
        return "".join(map(str, ranks))
    return f"{min(ranks)}–{max(ranks)}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
