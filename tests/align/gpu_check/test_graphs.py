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
