"""Half precision against fp32, on a model whose activations overflow and on one that is fine."""

import copy

import pytest
import torch

from align.base import Base
from align.gpu_check import half_precision
from align.gpu_check.check import Setting
from align.gpu_check.half_precision import measure


def half(model: torch.nn.Module) -> torch.nn.Module:
    return copy.deepcopy(model).half()


def test_the_tiny_base_is_close_to_fp32(tiny: Base) -> None:
    measured = measure(tiny, half(tiny.model), tiny.model)
    assert measured.overflow is None
    assert 0 < measured.divergence < 1e-3
    assert measured.same > 0.95
    assert 0 < measured.largest < 1000


def test_the_first_layer_that_overflows_is_named(tiny: Base) -> None:
    model = copy.deepcopy(tiny.model)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(1e7)
    measured = measure(tiny, half(model), model)
    assert measured.overflow == 1
    assert measure(tiny, model, model).overflow is None


@pytest.fixture
def ran(monkeypatch, tmp_path):
    def run(model):
        originals = {torch.float16: half(model), torch.float32: model}
        monkeypatch.setattr(half_precision, "_from_files", lambda _, dtype: originals[dtype])
        return half_precision.run(Setting("tiny-random", "cpu", tmp_path))

    return run


def test_the_verdict_and_what_to_do(tiny: Base, ran, monkeypatch) -> None:
    good = ran(tiny.model)
    assert good.verdict == "PASS" and good.figures["dtype"] == "float16"
    model = copy.deepcopy(tiny.model)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.mul_(1e5)
    held = ran(model)  # as where it is loaded
    assert held.verdict == "PASS" and "with 3 linear layers in fp32" in held.sentence
    assert all("layers.0.mlp" in name for name in held.figures["in_fp32"])
    monkeypatch.setattr(half_precision, "settle", lambda *_: None)
    bad = ran(model)
    assert bad.verdict == "FAIL"
    assert "overflows after layer 0" in bad.sentence and "fp32_modules" in bad.sentence


def test_a_divergence_beyond_rounding_fails(tiny: Base, monkeypatch, tmp_path) -> None:
    other = copy.deepcopy(tiny.model)
    with torch.no_grad():
        other.model.layers[0].mlp.down_proj.weight.mul_(1.5)
    models = {torch.float16: half(other), torch.float32: tiny.model}
    monkeypatch.setattr(half_precision, "_from_files", lambda _, dtype: models[dtype])
    outcome = half_precision.run(Setting("tiny-random", "cpu", tmp_path))
    assert outcome.verdict == "FAIL" and "away from fp32" in outcome.sentence
