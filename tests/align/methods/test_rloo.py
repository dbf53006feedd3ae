"""REINFORCE leave-one-out: completions come from the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from align.training.trial import Trial
from tests.align.methods.tiny_recipe import recipe


def test_rloo_generates_on_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import GenerationMixin

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("TRL generated the completions itself")

    monkeypatch.setattr(GenerationMixin, "generate", refuse)
    trial = Trial(recipe("rloo"), "one", {}, parent=None, reward_model=None, folder=tmp_path)
    assert 0 <= trial.advance(1)["mean_reward"] <= 1
