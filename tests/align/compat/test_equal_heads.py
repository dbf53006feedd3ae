"""Below capability 8.0 no call of attention asks torch for grouped heads."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional
from transformers import AttentionInterface

from align.base import load_base
from align.compat.equal_heads import equal_heads, needs_equal_heads
from align.compat.torch_attention import short_attention
from tests.align.training.short_runs import run, stage_of

TORCH = functional.scaled_dot_product_attention
BATCH, HEADS, GROUPS, LENGTH, WIDTH = 2, 4, 2, 11, 16


@pytest.mark.parametrize(
    ("capability", "needed"),
    [(None, False), ((6, 0), True), ((7, 5), True), ((8, 0), False), ((9, 0), False)],
)
def test_cards_without_flash_attention_need_equal_heads(capability, needed):
    assert needs_equal_heads(capability) is needed


@pytest.fixture
def calls(monkeypatch):
    """The number of heads of query and key, whether grouping was asked for, and the mask."""
    made = []

    def record(query, key, value, attn_mask=None, **options):
        grouped = options.get("enable_gqa", False)
        made.append((query.shape[1], key.shape[1], value.shape[1], grouped, attn_mask is not None))
        return TORCH(query, key, value, attn_mask=attn_mask, **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", record)
    return made


def inputs(length=LENGTH):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(BATCH, heads, length, WIDTH, generator=generator)
        for heads in (HEADS, HEADS // GROUPS, HEADS // GROUPS)
    )
    return [tensor.requires_grad_() for tensor in (query, key, value)]


def attend(tensors, module=None, **options):
    module = module or SimpleNamespace(num_key_value_groups=GROUPS, is_causal=True)
    out, weights = AttentionInterface()["sdpa"](module, *tensors, None, **options)
    assert weights is None
    return out


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("options", [{}, {"is_causal": False}, {"scaling": 0.7}, {"dropout": 0.0}])
def test_the_result_and_its_gradient_are_those_of_grouped_heads(calls, options, grad):
    tensors = inputs()
    grouped = attend(tensors, **options)
    assert calls.pop() == (HEADS, HEADS // GROUPS, HEADS // GROUPS, True, False)
    with equal_heads(True), short_attention(), torch.set_grad_enabled(grad):
        repeated = attend(tensors, **options)
    assert calls == [(HEADS, HEADS, HEADS, False, False)]
    torch.testing.assert_close(repeated, grouped)
    if grad:
        slope = torch.randn(grouped.shape, generator=torch.Generator().manual_seed(1))
        expected = torch.autograd.grad(grouped, tensors, slope)
        found = torch.autograd.grad(repeated, tensors, slope)
        torch.testing.assert_close(found, expected)


def test_a_module_that_is_not_causal_stays_so(calls):
    module = SimpleNamespace(num_key_value_groups=GROUPS, is_causal=False)
    tensors = inputs()
    expected = attend(tensors, module)
    with equal_heads(True):
        torch.testing.assert_close(attend(tensors, module), expected)


def test_a_masked_call_is_left_to_transformers(calls):
    mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()[None, None]
    module = SimpleNamespace(num_key_value_groups=GROUPS, is_causal=True)
    with equal_heads(True):
        AttentionInterface()["sdpa"](module, *inputs(), mask)
    assert calls == [(HEADS, HEADS, HEADS, False, True)]


def test_attention_is_as_before_after_the_block_and_where_it_is_not_needed():
    original = AttentionInterface()["sdpa"]
    with equal_heads(False):
        assert AttentionInterface()["sdpa"] is original
    with equal_heads(True):
        assert AttentionInterface()["sdpa"] is not original
    assert AttentionInterface()["sdpa"] is original


def test_transformers_still_groups_heads_by_itself(calls):
    """If it does not, or torch's kernel takes grouped heads, this module is not needed."""
    attend(inputs())
    assert calls[0][3]


@pytest.mark.parametrize("method", ["sft", "dpo", "reward"])
def test_training_on_a_t4_never_asks_for_grouped_heads(calls, monkeypatch, tmp_path, home, method):
    """A single row has no padding; DPO's reference is computed, too."""
    monkeypatch.setattr("align.training.train.capability", lambda: (7, 5))
    stage = stage_of(method, per_device_train_batch_size=1, gradient_accumulation_steps=1)
    run(load_base("tiny-random"), method, tmp_path, to=1, steps=1, stage=stage)
    assert calls and not [call for call in calls if call[3] or call[0] != call[1]]
