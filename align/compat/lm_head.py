"""The language head's log-probabilities on a CPU: each logit is computed once.

TRL's function computes them again for the backward pass and multiplies there in fp32: almost half
of an SFT step. But the gradient of a token's log-probability is known as soon as its logits are:
d log p(y) / d hidden = (onehot(y) - p) W. So it is kept from the forward pass, no larger than the
hidden states themselves, and the backward pass only scales it by what comes in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from trl.kernels import ChunkedLogProbFunction

#: Tokens at a time: with 50,000 words, 13 MB of logits in fp32, which stay in the last cache.
BLOCK = 64

_ORDER = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


class LogProbabilities:
    """In the place of TRL's `ChunkedLogProbFunction`, which still does what is not done here.

    That is any head that is trained, has a bias or caps its logits, and any device but a CPU.
    """

    @staticmethod
    def apply(
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        temperature: float,
        chunk_size: int,
        softcap: float | None = None,
        logit_scale: float = 1.0,
        outputs: tuple[str, ...] = _ORDER,
    ) -> tuple[torch.Tensor | None, ...]:
        """TRL's arguments and results; see `_Once.forward`."""
        plain = bias is None and softcap is None and not weight.requires_grad
        if plain and weight.device.type == "cpu":
            scale = logit_scale / temperature
            found = _Once.apply(hidden, weight, targets, scale, chunk_size, outputs)  # type: ignore[no-untyped-call]
            return found  # type: ignore[no-any-return]
        return ChunkedLogProbFunction.apply(  # type: ignore[no-any-return]
            hidden,
            weight,
            bias,
            targets,
            temperature,
            chunk_size,
            softcap,
            logit_scale,
            outputs,
        )


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        scale: float,
        chunk_size: int,
        outputs: tuple[str, ...],
    ) -> tuple[torch.Tensor | None, ...]:
        """Of `hidden` (tokens, width) by `weight` (words, width): a value for each of `targets`.

        The log-probability, then, each None unless it is in `outputs`: the entropy in nats,
        log Σp², the mean logit, and whether the target is the likeliest word. Logits are multiplied
        by `scale` first. All in fp32 from logits in the compute dtype, as TRL's.
        """
        ctx.set_materialize_grads(False)
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        weight, inputs = weight.to(dtype), hidden.to(dtype)
        wanted = [name for name in _ORDER if name in ("log_probs", *outputs)]
        kept: dict[str, list[torch.Tensor]] = {name: [] for name in wanted}
        slopes = torch.empty_like(inputs) if ctx.needs_input_grad[0] else None
        # Under autocast even the sums would be in the products' dtype.
        with torch.autocast(kind, enabled=False):
            for first in range(0, len(inputs), BLOCK):
                rows = slice(first, first + BLOCK)
                target = targets[rows, None]
                logits = (inputs[rows] @ weight.t()).float().mul_(scale)
                p = logits.softmax(-1)
                for name, values in _values(logits, p, target, wanted).items():
                    kept[name].append(values)
                del logits
                if slopes is not None:
                    p.scatter_add_(1, target, torch.full_like(target, -1.0, dtype=p.dtype))
                    torch.mm(p.to(dtype), weight, out=slopes[rows])
                del p
        ctx.scale, ctx.chunk_size = scale, chunk_size
        if slopes is not None:
            ctx.save_for_backward(slopes, hidden, weight, targets)
        found = {
            name: torch.cat(parts) if parts else hidden.new_empty(0, dtype=torch.float32)
            for name, parts in kept.items()
        }
        flat = [found[name] for name in _ORDER[2:] if name in found]
        ctx.mark_non_differentiable(*flat)
        return tuple(found.get(name) for name in _ORDER)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """The gradient of `hidden`, from those of the log-probabilities and the entropies."""
        slopes, hidden, *_ = ctx.saved_tensors
        of_log, of_entropy = gradients[:2]
        whole = torch.zeros((), dtype=torch.float32)
        if of_log is not None:
            whole = slopes * (-ctx.scale * of_log[:, None])
        if of_entropy is not None:  # a bonus for it is rare: TRL's own way
            whole = whole + _of_entropy(ctx, of_entropy)
        return whole.expand_as(hidden).to(hidden.dtype), None, None, None, None, None


def _of_entropy(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
    _, hidden, weight, targets = ctx.saved_tensors
    with torch.enable_grad():
        again = hidden.detach().to(weight.dtype).requires_grad_()
        entropy = ChunkedLogProbFunction.apply(
            again, weight, None, targets, 1 / ctx.scale, ctx.chunk_size, None, 1.0, ("entropy",)
        )[1]
    (found,) = torch.autograd.grad(entropy, again, gradient)
    return found  # type: ignore[no-any-return]


def _values(
    logits: torch.Tensor, p: torch.Tensor, target: torch.Tensor, wanted: list[str]
) -> dict[str, torch.Tensor]:
    """What is `wanted` of a block's `logits` and probabilities, both (tokens, words)."""
    most, where = logits.max(-1)
    # The likeliest word's probability is at least 1 / words, so its logarithm is safe.
    log_z = most - p.gather(1, where[:, None])[:, 0].log()
    of: dict[str, Callable[[], torch.Tensor]] = {
        "log_probs": lambda: logits.gather(1, target)[:, 0] - log_z,
        "entropy": lambda: log_z - _dot(p, logits),
        "log_sum_sq_probs": lambda: _dot(p, p).log(),
        "mean_logits": lambda: logits.mean(-1),
        "is_top1": lambda: where == target[:, 0],
    }
    return {name: of[name]() for name in wanted}


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Row by row, without a product as large as the rows."""
    return torch.bmm(a[:, None], b[:, :, None])[:, 0, 0]
