"""Attention's gradient on a CPU is torch's."""

import inspect
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional
from transformers import AttentionInterface

from align.compat.torch_attention import MOST, _Short, attention, short_attention

TORCH = functional.scaled_dot_product_attention
BATCH, HEADS, LENGTH, WIDTH = 3, 4, 37, 16


def inputs(dtype=torch.float32, length=LENGTH):
    generator = torch.Generator().manual_seed(0)
    shape = (BATCH, length, HEADS, WIDTH)  # as a model has them: heads are a view
    made = [torch.randn(shape, generator=generator).to(dtype) for _ in range(4)]
    query, key, value, gradient = (one.transpose(1, 2) for one in made)
    return [one.detach().requires_grad_() for one in (query, key, value)], gradient


def left_padded(length=LENGTH):
    """Causal; each sample begins with some tokens that nobody sees, not even themselves."""
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    padding = torch.arange(length) >= torch.tensor([[0], [5], [length - 2]])
    return (seen & padding[:, None, :])[:, None], padding


def slopes(function, tensors, gradient, **options):
    out = function(*tensors, **options)
    return out, torch.autograd.grad(out, tensors, gradient)


@pytest.mark.parametrize("kind", ["none", "causal", "bool", "additive", "scaled"])
def test_the_gradient_is_torchs(kind):
    tensors, gradient = inputs()
    seen = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()[None, None]
    options = {
        "none": {},
        "causal": {"is_causal": True},
        "bool": {"attn_mask": seen.expand(BATCH, 1, -1, -1)},
        "additive": {"attn_mask": torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))},
        "scaled": {"is_causal": True, "scale": 0.7},
    }[kind]
    theirs, their_slopes = slopes(TORCH, tensors, gradient, **options)
    ours, our_slopes = slopes(attention, tensors, gradient, **options)
    assert torch.equal(ours, theirs)
    for one, other in zip(our_slopes, their_slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_tokens_that_see_nothing_pass_nothing_on():
    tensors, gradient = inputs()
    mask, padding = left_padded()
    gradient = gradient * padding[:, None, :, None]  # no loss looks at padding
    _, theirs = slopes(TORCH, tensors, gradient, attn_mask=mask)
    _, ours = slopes(attention, tensors, gradient, attn_mask=mask)
    for one, other in zip(ours, theirs, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_bf16_is_about_as_near_to_the_truth_as_torchs():
    exact, exact_gradient = inputs()
    _, truth = slopes(TORCH, exact, exact_gradient, is_causal=True)
    tensors, gradient = inputs(torch.bfloat16)
    errors = []
    for function in (attention, TORCH):
        _, found = slopes(function, tensors, gradient, is_causal=True)
        errors.append(
            sum(float((a.float() - b).abs().mean()) for a, b in zip(found, truth, strict=True))
        )
    assert errors[0] <= 1.3 * errors[1]


def test_under_autocast_mixed_inputs_are_cast_as_torch_casts_them():
    found = []
    for function in (attention, TORCH):
        tensors, gradient = inputs()
        with torch.autocast("cpu", torch.bfloat16):
            out = function(tensors[0], tensors[1], tensors[2].bfloat16(), is_causal=True)
        found.append((out, *torch.autograd.grad(out, tensors, gradient.bfloat16())))
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(*(each[1:] for each in found), strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02)


def test_what_is_not_done_here_is_left_to_torch():
    def taken(tensors, **options):
        return "_Short" in str(attention(*tensors, **options).grad_fn)

    assert issubclass(_Short, torch.autograd.Function)
    tensors, _ = inputs()
    assert taken(tensors)
    assert not taken([one.detach() for one in tensors])
    assert not taken(tensors, dropout_p=0.5)
    long = [one.repeat(1, 1, 40, 1).detach().requires_grad_() for one in tensors]
    assert HEADS * long[0].shape[2] ** 2 > MOST
    assert not taken(long)
    fewer = [tensors[0], *(one[:, :2].detach().requires_grad_() for one in tensors[1:])]
    assert attention(*fewer, enable_gqa=True).shape == tensors[0].shape


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_models_use_it_within_the_block_alone(masked, groups):
    original = AttentionInterface()["sdpa"]
    (query, key, value), gradient = inputs()
    heads = HEADS // groups
    tensors = [query, *(one[:, :heads].detach().requires_grad_() for one in (key, value))]
    mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()[None, None] if masked else None
    module = SimpleNamespace(num_key_value_groups=groups, is_causal=True)

    def attend(*tensors):
        out, weights = AttentionInterface()["sdpa"](module, *tensors, mask)
        assert weights is None
        return out

    theirs, their_slopes = slopes(attend, tensors, gradient.transpose(1, 2))
    with short_attention():
        assert AttentionInterface()["sdpa"] is not original
        ours, our_slopes = slopes(attend, tensors, gradient.transpose(1, 2))
        used = "_Short" in names(attend(*tensors).grad_fn)
        assert used == (masked or groups == 1)
    assert AttentionInterface()["sdpa"] is original
    assert torch.equal(ours, theirs)
    for one, other in zip(our_slopes, their_slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def names(node):
    """The functions behind a result, in one string."""
    return str(node) + "".join(names(before) for before, _ in node.next_functions if before)


def test_transformers_attention_has_the_arguments_that_are_passed_on():
    parameters = list(inspect.signature(AttentionInterface()["sdpa"]).parameters)
    expected = ["module", "query", "key", "value", "attention_mask", "dropout", "scaling"]
    assert parameters[:8] == [*expected, "is_causal"]
    # Arguments that `_fits` leaves to transformers; a new one may have to join them.
    assert parameters[8:] == ["position_bias", "cache", "kwargs"]
