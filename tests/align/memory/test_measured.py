"""Overheads that were measured on a card take the place of assumptions."""

import json
from pathlib import Path
from typing import Any

import pytest

from align.memory.machines import gpu
from align.memory.measured import measured, result_file

T4 = gpu("T4")
FIGURES = {"context": 400 * 2**20, "fragmentation": 0.1}


def write(figures: Any, name: str = "memory") -> None:
    file = result_file("T4")
    file.parent.mkdir(exist_ok=True)
    checks = [{"name": "card", "figures": {}}, {"name": name, "figures": figures}]
    file.write_text(json.dumps({"checks": checks}))


def test_without_a_result_the_assumptions_stay(home: Path) -> None:
    assert measured(T4) is T4


def test_measured_overheads_are_used_for_that_card_alone(home: Path) -> None:
    write(FIGURES)
    used = measured(T4)
    assert used.measured and used.overhead(1000) - used.overhead(0) == 100
    assert used.overhead(0) - T4.overhead(0) == FIGURES["context"] - T4.context
    assert measured(gpu("L4")) is gpu("L4")


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"context": 1},
        None,
        {**FIGURES, "context": 0},
        {**FIGURES, "context": 2**40},
        {**FIGURES, "context": float("inf")},
        {**FIGURES, "context": "many"},
        {**FIGURES, "fragmentation": 1.5},
        {**FIGURES, "fragmentation": float("nan")},
    ],
)
def test_figures_that_cannot_be_right_count_as_none(home: Path, figures: Any) -> None:
    write(figures)
    assert measured(T4) is T4


def test_a_damaged_file_and_a_run_without_the_check_count_as_none(home: Path) -> None:
    write(FIGURES, name="speed")
    assert measured(T4) is T4
    for text in ("", "[]", "{", "null", '{"checks": 3}'):
        result_file("T4").write_text(text)
        assert measured(T4) is T4
