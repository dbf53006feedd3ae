"""The head that computes each logit once gives what TRL's gives: values and gradients."""

import pytest
import torch
from trl.kernels import ChunkedLogProbFunction

from align.compat.lm_head import BLOCK, LogProbabilities

ALL = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
WORDS, WIDTH = 515, 48


def inputs(tokens, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, WIDTH, generator=generator).to(dtype).requires_grad_()
    weight = (torch.randn(WORDS, WIDTH, generator=generator) / 2).to(dtype)
    return hidden, weight, torch.randint(0, WORDS, (tokens,), generator=generator)


def gradient(found, hidden, use_entropy):
    factors = torch.linspace(-2.0, 3.0, len(hidden))
    total = (found[0] * factors).sum() + ((found[1] * factors).sum() if use_entropy else 0.0)
    return torch.autograd.grad(total, hidden)[0]


@pytest.mark.parametrize("tokens", [1, BLOCK, 2 * BLOCK + 3])
@pytest.mark.parametrize(("temperature", "scale"), [(1.0, 1.0), (0.7, 0.5)])
@pytest.mark.parametrize("use_entropy", [False, True])
def test_values_and_gradients_are_trls(tokens, temperature, scale, use_entropy):
    hidden, weight, targets = inputs(tokens)
    rest = (weight, None, targets, temperature, 256, None, scale, ALL)
    theirs, ours = (
        ChunkedLogProbFunction.apply(hidden, *rest),
        LogProbabilities.apply(hidden, *rest),
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        gradient(ours, hidden, use_entropy), gradient(theirs, hidden, use_entropy),
        rtol=1e-4, atol=1e-4,
    )  # fmt: skip


def test_bf16_is_no_further_from_the_truth_than_trls():
    exact_hidden, exact_weight, targets = inputs(200)
    rest = (None, targets, 1.0, 256, None, 1.0, ALL)
    truth = ChunkedLogProbFunction.apply(exact_hidden, exact_weight, *rest)
    true_slope = gradient(truth, exact_hidden, False)
    hidden, weight, _ = inputs(200, torch.bfloat16)
    errors = []
    for head in (LogProbabilities, ChunkedLogProbFunction):
        found = head.apply(hidden, weight, *rest)
        off = gradient(found, hidden, False).float() - true_slope
        errors.append(((found[0] - truth[0]).abs().mean(), off.abs().mean()))
    (value, slope), (their_value, their_slope) = errors
    assert value <= 1.05 * their_value
    assert slope <= 1.05 * their_slope


def test_under_autocast_only_the_logits_are_rounded():
    hidden, weight, targets = inputs(70)
    rest = (weight.bfloat16(), None, targets, 1.0, 256, None, 1.0, ALL)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (
            LogProbabilities.apply(hidden, *rest),
            ChunkedLogProbFunction.apply(hidden, *rest),
        )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_what_is_not_asked_for_is_none():
    hidden, weight, targets = inputs(3)
    found = LogProbabilities.apply(hidden, weight, None, targets, 1.0, 256, None, 1.0, ("entropy",))
    assert [one is None for one in found] == [False, False, True, True, True]


def test_no_position_is_no_value_and_a_gradient_of_nothing():
    hidden, weight, targets = inputs(0)
    found = LogProbabilities.apply(hidden, weight, None, targets, 1.0, 256, None, 1.0, ALL)
    assert all(len(one) == 0 for one in found)
    assert torch.autograd.grad(found[0].sum(), hidden)[0].shape == (0, WIDTH)


@pytest.mark.parametrize("case", ["bias", "cap", "trained"])
def test_other_heads_are_left_to_trl(case):
    hidden, weight, targets = inputs(5)
    bias = torch.ones(WORDS) if case == "bias" else None
    cap = 3.0 if case == "cap" else None
    weight.requires_grad_(case == "trained")
    rest = (weight, bias, targets, 1.0, 256, cap, 1.0, ALL)
    found, theirs = (
        LogProbabilities.apply(hidden, *rest),
        ChunkedLogProbFunction.apply(hidden, *rest),
    )
    torch.testing.assert_close(found[0], theirs[0])
    found[0].sum().backward()
    assert (weight.grad is not None) == (case == "trained")
