"""How far what is served lies from what was trained."""

import pytest

from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.precision import choose
from align.training.train_record import read_record
from tests.align.training.short_runs import METHODS, rows_of, run


@pytest.fixture
def fp32(monkeypatch):
    monkeypatch.setattr(
        "align.methods.trainers.trainer_inputs.precision", lambda: choose("cpu", None, False)
    )


@pytest.mark.parametrize("method", METHODS)
def test_what_is_published_is_what_was_trained(tiny, fp32, make_adapter, tmp_path, method):
    """On a parent, through the engine that serves it: the same but for rounding."""
    engine = BankEngine(tiny, EngineOptions(slots=16, slot_tokens=512))
    given = {"parent": make_adapter("parent", 1), "engine": engine, "rows": rows_of(method, 8)}
    _, checkpoint = run(tiny, method, tmp_path / "run", to=2, steps=2, **given)
    apart = read_record(checkpoint).stack_difference
    assert 0 <= apart["mean"] <= apart["max"] < 1e-4
    assert engine.loaded == set()


def test_a_published_adapter_that_is_not_what_was_trained_shows(
    tiny, fp32, make_adapter, tmp_path, monkeypatch
):
    """As it would if the parent were left out."""
    engine = BankEngine(tiny, EngineOptions(slots=16, slot_tokens=512))
    monkeypatch.setattr("align.adapters.tensors.LoraFactors.stacked_on", lambda own, _: own)
    given = {"parent": make_adapter("parent", 1), "engine": engine}
    _, checkpoint = run(tiny, "sft", tmp_path / "run", to=1, steps=1, **given)
    assert read_record(checkpoint).stack_difference["mean"] > 0.01


def test_without_an_engine_or_before_the_end_nothing_is_compared(tiny, fp32, tmp_path):
    _, checkpoint = run(tiny, "sft", tmp_path, to=1, steps=2)
    assert read_record(checkpoint).stack_difference == {}
