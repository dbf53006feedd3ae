"""Which kernel each call of attention takes, as torch shows it."""

from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from align.base import Base
from align.gpu_check import attention
from align.gpu_check.attention import Call, Observed, engine_calls, observed, training_calls
from align.gpu_check.check import Setting
from align.inference.kernels.plain import PlainOps


def test_a_call_is_noted_with_its_shape_and_kernel() -> None:
    query, key = torch.rand(1, 4, 6, 16), torch.rand(1, 2, 8, 16)
    with observed() as seen:
        scaled_dot_product_attention(query, key, key, enable_gqa=True)
        with sdpa_kernel(SDPBackend.MATH):
            wide = torch.rand(1, 2, 6, 16)
            scaled_dot_product_attention(wide, key, key, attn_mask=torch.ones(6, 8).bool())
            scaled_dot_product_attention(wide, key, key, torch.ones(6, 8).bool())
    scaled_dot_product_attention(query, query, query)
    assert seen.calls == [
        Call(6, 8, 4, 2, masked=False, kernel="flash"),
        Call(6, 8, 2, 2, masked=True, kernel="math"),
    ]
    assert seen.kernels == "flash, math"
    assert str(seen.calls[1]) == "6 queries on 8 keys, 2 and 2 heads, with mask"


def test_in_inference_mode_a_call_is_taken_apart_too() -> None:
    """The engine works in it, and torch hands the call over as a whole there."""
    query = torch.rand(1, 4, 6, 16)
    with torch.inference_mode(), observed() as seen:
        out = scaled_dot_product_attention(query, query, query)
        with sdpa_kernel(SDPBackend.MATH):
            scaled_dot_product_attention(query[:, :2], query[:, :2], query[:, :2])
    assert [call.kernel for call in seen.calls] == ["flash", "math"]
    torch.testing.assert_close(out, scaled_dot_product_attention(query, query, query))


def test_training_and_the_engine_are_seen(tiny: Base, tmp_path: Path) -> None:
    phases = training_calls(tiny, Setting("tiny-random", "cpu", tmp_path))
    assert list(phases) == ["padded rows", "equal rows", "single rows"]
    assert all(seen.calls for seen in phases.values())
    assert any(call.masked for call in phases["padded rows"].calls)
    assert not any(call.masked for call in phases["single rows"].calls)


def test_reading_and_decoding_are_told_apart(tiny: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "align.inference.modeling.model.choose_ops", lambda *_: PlainOps(few_launches=True)
    )
    phases = engine_calls(tiny)
    assert {seen.kernels for seen in phases.values()} == {"flash"}
    assert max(call.queries for call in phases["prompts"].calls) > 8
    assert not set(phases["decoding"].calls) & set(phases["prompts"].calls)


def judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **kernels: str):
    phases = {
        phase: Observed([Call(9, 9, 4, 2, False, kernel)]) for phase, kernel in kernels.items()
    }
    monkeypatch.setattr(attention, "training_calls", lambda *_: phases)
    monkeypatch.setattr(attention, "engine_calls", lambda *_: {})
    return attention.run(Setting("tiny-random", "cpu", tmp_path))


def test_math_fails_with_the_shape(monkeypatch, tmp_path) -> None:
    good = judged(monkeypatch, tmp_path, rows="memory-efficient")
    assert (good.verdict, good.sentence) == ("PASS", "rows: memory-efficient")
    bad = judged(monkeypatch, tmp_path, rows="math", others="flash")
    assert bad.verdict == "FAIL"
    assert "rows (9 queries on 9 keys, 4 and 2 heads, without mask)" in bad.sentence
    assert bad.figures["kernels"] == {"rows": "math", "others": "flash"}


def test_a_phase_without_attention_fails(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(attention, "training_calls", lambda *_: {"rows": Observed()})
    monkeypatch.setattr(attention, "engine_calls", lambda *_: {})
    outcome = attention.run(Setting("tiny-random", "cpu", tmp_path))
    assert outcome.verdict == "FAIL" and "no attention was seen in rows" in outcome.sentence
