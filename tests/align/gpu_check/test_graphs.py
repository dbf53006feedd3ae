"""Two engines are compared as loaded, after growth and after a reload."""

from pathlib import Path
from typing import Any

import pytest

from align.base import Base
from align.gpu_check import graphs
from align.gpu_check.agreement import Agreement
from align.gpu_check.check import Setting
from align.gpu_check.graphs import compare_rounds
from align.inference import EngineOptions
from align.inference.engine import BankEngine
from align.inference.modeling.cuda_graphs import Captured

OPTIONS = EngineOptions(slots=8, slot_tokens=512, adapters=4)


class StaleEngine(BankEngine):
    """Keeps the adapter that it first got under a name."""

    def load(self, adapter_id: str, adapter: Any) -> None:
        first = self.__dict__.setdefault("first", {})
        super().load(adapter_id, first.setdefault(adapter_id, adapter))


def rounds(base: Base, second: type[BankEngine]) -> dict[str, int]:
    engines = (BankEngine(base, OPTIONS), second(base, OPTIONS))
    return {name: one.wrong for name, one in compare_rounds(base, *engines, 1e-3).items()}


def test_equal_engines_agree_in_every_round(tiny: Base) -> None:
    assert rounds(tiny, BankEngine) == {"as loaded": 0, "after growth": 0, "after a reload": 0}


def test_an_engine_that_keeps_a_replaced_adapter_is_seen(tiny: Base) -> None:
    wrong = rounds(tiny, StaleEngine)
    assert wrong["as loaded"] == wrong["after growth"] == 0
    assert wrong["after a reload"] > 0


def test_the_verdict_names_the_rounds_that_differ(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setting = Setting("tiny-random", "cpu", tmp_path)
    good = graphs.run(setting)
    assert good.verdict == "PASS", good.sentence
    rounds = {"as loaded": Agreement(0.0, 0, 0), "after growth": Agreement(1.0, 0, 2)}
    monkeypatch.setattr(graphs, "compare_rounds", lambda *_: rounds)
    bad = graphs.run(setting)
    assert bad.verdict == "FAIL"
    assert "differ from eager ones after growth:" in bad.sentence
    assert bad.figures["after growth"] == {"largest": 1.0, "ties": 0, "wrong": 2}


@pytest.mark.parametrize(("first", "last"), [(0, 0), (9, 9), (9, 17)])
def test_steps_that_were_not_captured_are_a_failure_with_the_reason(
    first: int, last: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each shape is captured without adapters first, and with adapters once there are any."""
    answers = [Captured(first), Captured(last, "operation not permitted")]
    monkeypatch.setattr(BankEngine, "capture_graphs", lambda _: answers.pop(0))
    monkeypatch.setattr(graphs, "compare_rounds", lambda *_: {"as loaded": Agreement(0.0, 0, 0)})
    outcome = graphs.run(Setting("tiny-random", "cuda", tmp_path))
    assert outcome.verdict == "FAIL"
    assert "could not be captured (operation not permitted)" in outcome.sentence
