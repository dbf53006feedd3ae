"""A report as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.cases import Case
from benchmarks.results import RATIOS, Row, ratios

_CAPTION = (
    "right: checked tokens that base and adapter in fp32 give as well; "
    "wait: until the first token of the adapter that waited longest"
)


def print_report(rows: Sequence[Row], console: Console) -> None:
    """Speeds, then ratios beside their targets."""
    console.print(_speeds(rows))
    console.print()
    console.print(_ratios(rows))


def _speeds(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", caption=_CAPTION)
    table.caption_justify = "left"
    table.add_column("case", no_wrap=True)
    for name in ("req", "adapters"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    for name in ("tokens/s", "runs", "right", "wait"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        right = f"{min(one.mean for one in row.agreements):.1%}"
        table.add_row(
            row.case.name,
            str(row.case.requests * row.case.completions),
            adapters_text(row.case),
            row.engine,
            Text(f"{row.speed:.1f}", style="bold" if row.engine == "alignery" else ""),
            f"{min(row.speeds):.0f}–{max(row.speeds):.0f}" if len(row.speeds) > 1 else "",
            Text(right, style="" if row.good else "red"),
            f"{max(row.longest_waits):.1f} s" if row.longest_waits else "",
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


def adapters_text(case: Case) -> str:
    """`16×r8`, or `16×r4–64` for several ranks; nothing without adapters."""
    ranks = sorted({case.rank(number) for number in range(case.adapters)})
    if not ranks:
        return ""
    between = "" if len(ranks) == 1 else f"–{ranks[-1]}"
    return f"{case.adapters}×r{ranks[0]}{between}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
