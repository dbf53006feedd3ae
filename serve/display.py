"""Experiments and keys as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from align.console_tables import print_table
from serve.access.key import Key
from serve.experiments import ExperimentInfo, ExperimentReport
from serve.experiments.report import MISMATCH, UNDECIDED, VariantComparison, VariantReport

_NONE = "–"


def print_keys(keys: Sequence[Key], console: Console | None = None) -> None:
    """Print the keys' names, scopes, limits and states. The secrets are not stored."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("name", "begins with", "scopes", "requests/min", "tokens/day", "state"):
        right = title in ("requests/min", "tokens/day")
        long = title == "name"
        table.add_column(
            title, justify="right" if right else "left", no_wrap=not long, overflow="fold"
        )
    for key in keys:
        table.add_row(
            key.name,
            f"alk-{key.id}",
            " ".join(sorted(key.scopes)),
            _NONE if key.requests_per_minute is None else f"{key.requests_per_minute:,}",
            _NONE if key.tokens_per_day is None else f"{key.tokens_per_day:,}",
            "revoked" if key.revoked_at else "good",
        )
    (console or Console()).print(table)


def print_report(report: ExperimentReport, console: Console | None = None) -> None:
    """Print figures, decision and recommendation, to stdout unless a console is given."""
    console = console or Console()
    state = "" if report.state == "running" else ", stopped"
    console.print(
        Text(
            f"experiment {report.experiment}{state}: {report.rated_users} of "
            f"{report.planned_users} planned users rated, alpha {report.alpha:g}"
        )
    )
    console.print(_variants(report))
    if not report.sample_ratio.ok:
        e = _evidence(report.sample_ratio.e_value)
        console.print(Text(f"users do not arrive by the weights: e-value {e}", "red"))
    colour = {UNDECIDED: "yellow", MISMATCH: "red"}.get(report.decision, "green")
    console.print(Text.assemble("decision: ", (report.decision, f"bold {colour}")))
    console.print(Text(f"next: {report.recommendation}"), soft_wrap=True)


def _variants(report: ExperimentReport) -> Table:
    # Names get copied from here, so they are never cut off. The rest fits into 80 columns.
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("variant", overflow="fold")
    table.add_column("model", overflow="fold", min_width=16)
    for title in ("users", "rated", "mean", "difference", "e-value"):
        table.add_column(title, justify="right", no_wrap=True)
    comparisons = {comparison.treatment: comparison for comparison in report.comparisons}
    for variant in report.variants:
        comparison = comparisons.get(variant.name)
        table.add_row(
            variant.name,
            variant.model,
            str(variant.users),
            str(variant.rated_users),
            _mean(variant),
            _difference(comparison) if comparison else "",
            _evidence(comparison.e_value) if comparison else "",
        )
    return table


def _mean(variant: VariantReport) -> str:
    if variant.mean is None:
        return _NONE
    return f"{variant.mean:.3f}{_interval(variant.low, variant.high)}"


def _difference(comparison: VariantComparison) -> str:
    if comparison.difference is None:
        return _NONE
    return f"{comparison.difference:+.3f}{_interval(comparison.low, comparison.high, '+')}"


def _interval(low: float | None, high: float | None, sign: str = "") -> str:
    return "" if low is None or high is None else f"\n[{low:{sign}.2f}, {high:{sign}.2f}]"


def _evidence(e_value: float | None) -> str:
    if e_value is None:
        return _NONE
    return f"{e_value:.2f}" if e_value < 1000 else f"{e_value:.1e}"


def print_experiments(every: Sequence[ExperimentInfo]) -> None:
    """Print a table with a row for each experiment."""
    rows = [
        (
            info.name,
            info.state,
            ", ".join(f"{variant.name} = {variant.model}" for variant in info.variants),
            str(info.planned_users),
            info.created_at[:10],
        )
        for info in every
    ]
    print_table(("experiment", "state", "variants", "planned users", "started (UTC)"), rows)
