"""The table of `alignery bench priors`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def print_report(result: Mapping[str, Any], console: Console) -> None:
    """Print a row for each way to choose rates: its excess over each left-out model's best."""
    table = Table(box=None, pad_edge=False)
    for title in ("rates", "how many", "median excess", "90th percentile", "within 1 %"):
        table.add_column(title, justify="left" if title == "rates" else "right")
    for row in result["ways"]:
        table.add_row(
            row["way"],
            str(row["rates"]),
            _percent(row["median"]),
            _percent(row["p90"]),
            f"{row['within_1_percent']:.0%}",
        )
    console.print(table)
    console.print(
        f"{result['models']} models, {result['curves']} curves of a model and rank; excess in "
        "held-out negative log-likelihood. A rate above the highest that did not diverge has none."
    )


def _percent(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.2%}"
