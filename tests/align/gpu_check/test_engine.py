"""The engine's check passes on the tiny base, and sees an engine that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from align.base import Base
from align.gpu_check import engine
from align.gpu_check.check import Setting
from align.inference import Completion
from align.precision import choose

SETTING = Setting("tiny-random", "cpu", Path())


@pytest.fixture(autouse=True)
def in_fp32(monkeypatch: pytest.MonkeyPatch, tiny: Base) -> None:
    """In half precision the tolerance may be wider than two adapters differ."""
    monkeypatch.setattr(engine, "load_base", lambda _: tiny)
    monkeypatch.setattr(engine, "precision", lambda: choose("cpu", None, False))


def test_sixteen_adapters_in_a_batch_equal_each_alone() -> None:
    outcome = engine.run(SETTING)
    assert outcome.verdict == "PASS", outcome.sentence
    assert outcome.figures["wrong"] == 0
    assert outcome.figures["distinct"] >= 12  # the tiny base writes few different texts
    assert "rank 1 to 128" in outcome.sentence


def changed(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Completion], bool, int], None]
) -> Any:
    """The outcome where the completions of each round are changed; rounds count from 1."""
    whole, rounds = engine.greedy, iter(range(1, 9))

    def greedy(*arguments: Any, together: bool = True) -> list[Completion]:
        completions = whole(*arguments, together=together)
        change(completions, together, next(rounds))
        return completions

    monkeypatch.setattr(engine, "greedy", greedy)
    return engine.run(SETTING)


def test_a_row_that_takes_its_neighbours_adapter_is_seen(monkeypatch) -> None:
    def swap(completions: list[Completion], together: bool, _: int) -> None:
        if together:
            completions[11], completions[12] = completions[12], completions[11]

    outcome = changed(monkeypatch, swap)
    assert outcome.verdict == "FAIL"
    assert outcome.figures["wrong"] == 2
    assert "2 of 17 completions in a batch differ from those made alone" in outcome.sentence


def test_a_greedy_batch_that_does_not_repeat_is_seen(monkeypatch) -> None:
    def drop(completions: list[Completion], _: bool, number: int) -> None:
        if number == 2:
            completions[3] = replace(completions[3], token_ids=completions[3].token_ids[:-1])

    outcome = changed(monkeypatch, drop)
    assert outcome.verdict == "FAIL" and "gives other tokens the second time" in outcome.sentence


def test_a_score_that_depends_on_its_neighbours_is_seen(monkeypatch) -> None:
    monkeypatch.setattr(engine, "score_difference", lambda *_: float("nan"))
    outcome = engine.run(SETTING)
    assert outcome.verdict == "FAIL" and "a score among completions" in outcome.sentence
