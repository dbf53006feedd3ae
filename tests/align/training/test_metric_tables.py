"""An adapter's metrics as a table, beside those of its parent and its base."""

from typing import Any

from align.adapters import Manifest
from align.training.metric_tables import how_good, table

ABOUT: dict[str, Any] = {
    "id": "a" * 64, "base": "b", "base_digest": "c", "line": "x/sft", "method": "sft", "rank": 4,
}  # fmt: skip


def rows(**fields: Any) -> list[str]:
    """The header and the rows of the table."""
    lines = [line for line in how_good(Manifest(**ABOUT, **fields)) if line.startswith("|")]
    return [lines[0], *lines[2:]]


def test_a_bar_in_a_cell_ends_no_column():
    assert list(table(["a", "b"], [["x|y", "z"]])) == [
        "| a | b |",
        "| --- | --- |",
        "| x&#124;y | z |",
    ]


def test_shares_are_percentages_and_their_gains_points():
    gain = {"difference": 0.25, "low": 0.1, "high": 0.375, "items": 8}
    lines = rows(
        metrics={"accuracy": 0.5, "nll": 1.2345},
        base_metrics={"accuracy": 0.25},
        against_base={"accuracy": gain},
    )
    assert lines == [
        "|  | this adapter | base | difference to the base |",
        "| accuracy | 50.0 % | 25.0 % | +25.0 (+10.0 to +37.5) points |",
        "| negative log-likelihood, nats a token | 1.234 | – | – |",
    ]


def test_a_parent_has_columns_of_its_own_and_a_gain_of_nothing_counts_its_items():
    nothing = {"difference": 0.0, "low": None, "high": None, "items": 8}
    lines = rows(
        metrics={"length": 101.4, "tokens": 9.0, "reward/brevity": 0.5},
        parents=["d" * 64],
        parent_metrics={"length": 101.4, "tokens": 8.0},
        against_parent={"length": nothing, "tokens": {**nothing, "difference": 1.0}},
    )
    assert lines == [
        "|  | this adapter | parent | difference to the parent | base | difference to the base |",
        "| answer length, characters | 101.4 | 101.4 | none in 8 items | – | – |",
        "| answer length, tokens | 9 | 8 | +1 (no spread in 8 items) | – | – |",
        "| reward: brevity | 0.5 | – | – | – | – |",
    ]


def test_without_metrics_there_is_no_table():
    assert list(how_good(Manifest(**ABOUT)))[-1] == "Nothing was measured."
