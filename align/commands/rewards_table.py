"""The output of try-rewards: a table of completions, statistics, failures, remarks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from align.rewards.report import RewardReport

_FAILURES, _HEADING = 5, 12


def plain(report: RewardReport, left_out: list[str]) -> dict[str, Any]:
    """The report as JSON values; a reward that failed is null."""
    return {
        "samples": [
            {
                "prompt": sample.prompt,
                "completion": sample.text,
                "truncated": sample.truncated,
                "parts": {name: _null(values[index]) for name, values in report.parts.items()},
                "total": report.total[index],
            }
            for index, sample in enumerate(report.samples)
        ],
        "rewards": {
            name: {key: _null(value) for key, value in vars(figures).items()}
            for name, figures in report.figures.items()
        },
        "left_out": left_out,
        "failures": [vars(failure) for failure in report.failures],
        "tells": report.tells,
        "remarks": report.remarks,
    }


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value


def show(console: Console, report: RewardReport, left_out: list[str], title: str) -> None:
    """Print the report to the console."""
    console.print(Text(title), _completions(report), "", _figures(report))
    for name in left_out:
        console.print(f"{name} is left out: name its trained adapter with --reward-model FOLDER")
    if report.failures:
        console.print("\n[bold]Failed[/]")
    for failure in report.failures[:_FAILURES]:
        console.print(Text(f"  {failure.reward} on {_short(failure.text)!r}: {failure.error}"))
    if (omitted := len(report.failures) - _FAILURES) > 0:
        console.print(f"  … and {omitted} more, which --json prints")
    console.print("\n[bold]What to look at[/]" if report.remarks else "\nnothing looks off")
    for remark in report.remarks:
        console.print(Text(f"  {remark}"))


def _completions(report: RewardReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("prompt and completions", ratio=1)
    for name in (*report.parts, "total"):
        table.add_column(_heading(name), justify="right", min_width=6)
    for group in report.groups:
        prompt = report.samples[group[0]].prompt
        table.add_row(Text(_short(prompt[-1]["content"]), style="bold"))
        for index in group:
            values = [values[index] for values in report.parts.values()]
            cells = [*map(_number, values), f"{report.total[index]:.3f}"]
            table.add_row(Text("  " + _short(report.samples[index].text)), *cells)
    return table


def _figures(report: RewardReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("reward", "weight", "mean", "std", "min", "max", "failed"):
        table.add_column(name, justify="left" if name == "reward" else "right")
    for name, figures in report.figures.items():
        numbers = (figures.mean, figures.std, figures.low, figures.high)
        failed = f"{figures.failed}/{figures.count}" if figures.failed else "–"
        table.add_row(name, f"{figures.weight:g}", *map(_number, numbers), failed)
    return table


def _heading(name: str) -> str:
    """A reward's name, broken into lines so that its column stays narrow."""
    lines = [""]
    for part in name.replace("_", "_ ").split():
        if lines[-1] and len(lines[-1] + part) > _HEADING:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _number(value: float) -> str:
    return "failed" if math.isnan(value) else f"{value:.3f}"


def _short(text: str, limit: int = 160) -> str:
    """The text as one line of printable characters, at most `limit` of them."""
    line = "".join(
        character if character.isprintable() else "�" for character in " ".join(text.split())
    )
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
