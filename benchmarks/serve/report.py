"""What the runs say: ratios beside their targets, and tails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.serve.load import Loaded
from benchmarks.serve.run import Contest, Measured

#: Ratios are to be reached from below, milliseconds from above.
TARGETS = {"http_vs_engine": 0.9, "streamed_vs_engine": 0.65, "added_ttft_ms": 15.0}


def summary(contest: Contest) -> dict[str, Any]:
    """Medians over repeats; speeds in completion tokens a second, times in milliseconds.

    Ratios to the engine are of runs that followed each other.
    """
    engine = _speed(contest.engine.whole)
    late = contest.endpoint.late
    assert late is not None  # the endpoint's are always measured
    first = {name: _first(getattr(contest, name)) for name in ("engine", "endpoint", "stub")}
    return {
        "http_vs_engine": round(_ratio(contest.endpoint.whole, contest.engine.whole), 3),
        "streamed_vs_engine": round(_ratio(contest.endpoint.streamed, contest.engine.streamed), 3),
        "stub_streamed": round(_speed(contest.stub.streamed), 1),
        "added_ttft_ms": round(first["endpoint"] - first["engine"], 1),
        "stub_ttft_ms": round(first["stub"], 1),
        "p99_ttft_ms_at_80": round(1000 * _quantile(late.firsts, 0.99), 1),
        "p50_ttft_ms_at_80": round(1000 * _quantile(late.firsts, 0.5), 1),
        "tokens_a_second": {
            "engine": round(engine, 1),
            "whole": round(_speed(contest.endpoint.whole), 1),
            "streamed": round(_speed(contest.endpoint.streamed), 1),
        },
        "ttft_ms": {name: round(value, 1) for name, value in first.items()},
        "tokens_a_part": round(_tokens_a_part(contest.endpoint), 2),
        "peers": [
            {"name": name, "version": version, "serves": note, **_beside(contest.endpoint, found)}
            for (name, version, note), found in contest.peers.items()
        ],
        "targets": TARGETS,
    }


def _speed(runs: Sequence[Loaded]) -> float:
    return median(one.tokens_a_second for one in runs)


def _beside(ours: Measured, peer: Measured | str) -> dict[str, Any]:
    """A peer's figures and ours over them, or why it has none."""
    if isinstance(peer, str):
        return {"failed": peer}
    return {
        "whole": round(_speed(peer.whole), 1),
        "streamed": round(_speed(peer.streamed), 1),
        "ttft_ms": round(_first(peer), 1),
        "ours_whole_vs_it": round(_speed(ours.whole) / _speed(peer.whole), 2),
        "ours_streamed_vs_it": round(_speed(ours.streamed) / _speed(peer.streamed), 2),
    }


def _ratio(runs: Sequence[Loaded], others: Sequence[Loaded]) -> float:
    """Of runs that came one after the other, the median of their speeds' ratios."""
    pairs = zip(runs, others, strict=True)
    return median(one.tokens_a_second / other.tokens_a_second for one, other in pairs)


def _first(measured: Measured) -> float:
    return 1000 * median(_quantile(one.firsts, 0.5) for one in measured.single)


def _tokens_a_part(measured: Measured) -> float:
    """Of streamed answers to a crowd, the mean over all parts that bring text."""
    asked = [one for run in measured.streamed for one in run.asked]
    return sum(one.tokens for one in asked) / max(1, sum(one.parts for one in asked))


def _quantile(ascending: Sequence[float], share: float) -> float:
    """The least value that so large a share does not exceed."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def print_report(result: dict[str, Any], console: Console) -> None:
    """The summary as a person reads it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("figure", "measured", "to reach", "what it is"):
        table.add_column(title, justify="right" if title in ("measured", "to reach") else "left")
    meanings = {
        "http_vs_engine": "tokens a second over HTTP against the engine alone",
        "streamed_vs_engine": "the same where every answer is streamed",
        "added_ttft_ms": "median time to first token, one client: HTTP's less the engine's",
        "p99_ttft_ms_at_80": "time to first token at 80 % of saturation, the worst of a hundred",
        "stub_ttft_ms": "median time to first token of a stub that only streams, one client",
        "stub_streamed": "its tokens a second",
    }
    for name, meaning in meanings.items():
        target = TARGETS.get(name)
        table.add_row(name, f"{result[name]:g}", "" if target is None else f"{target:g}", meaning)
    console.print(table)
    speeds = result["tokens_a_second"]
    console.print(
        f"tokens a second: {speeds['engine']:.0f} engine alone, {speeds['whole']:.0f} over HTTP, "
        f"{speeds['streamed']:.0f} streamed, {result['tokens_a_part']:g} in each part",
        highlight=False,
    )
    if result["peers"]:
        _print_peers(result["peers"], console)


def _print_peers(peers: list[dict[str, Any]], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim", title="peers", title_justify="left")
    for title in (
        "server",
        "serves",
        "tok/s whole",
        "streamed",
        "TTFT, ms",
        "ours / it",
        "streamed",
    ):
        table.add_column(title, justify="left" if title in ("server", "serves") else "right")
    for one in peers:
        if "failed" in one:
            console.print(f"{one['name']} {one['version']}: {one['failed']}", highlight=False)
            continue
        table.add_row(
            f"{one['name']} {one['version']}",
            one["serves"],
            *(f"{one[key]:.0f}" for key in ("whole", "streamed", "ttft_ms")),
            *(f"{one[key]:.2f}" for key in ("ours_whole_vs_it", "ours_streamed_vs_it")),
        )
    console.print(table)
