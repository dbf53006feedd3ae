"""The language head's log-probabilities on a CPU, with each logit computed once.

TRL's function computes the logits again in the backward pass and multiplies there in fp32, which
takes almost half of an SFT step. But the gradient of a token's log-probability follows from its
logits: d log p(y) / d hidden = (onehot(y) - p) W. So the forward pass saves it, which takes no more
memory than the hidden states, and the backward pass only scales it by the incoming gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from trl.kernels import ChunkedLogProbFunction

#: Tokens of a block: with 50,000 words, 13 MB of logits in fp32, which fit a last-level cache.
BLOCK = 64

_ORDER = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


class LogProbabilities:
    """Replaces TRL's `ChunkedLogProbFunction`, and calls it for cases that are not handled here.

    These are heads that are trained, have a bias or cap their logits, and devices other than CPUs.
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
        supported = bias is None and softcap is None and not weight.requires_grad
        if supported and weight.device.type == "cpu":
            scale = logit_scale / temperature
            results = _Once.apply(hidden, weight, targets, scale, chunk_size, outputs)  # type: ignore[no-untyped-call]
            return results  # type: ignore[no-any-return]
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
        """Tensors (tokens,) for `hidden` (tokens, width), `weight` (words, width) and `targets`.

        The log-probability, then, each None unless it is in `outputs`: the entropy in nats,
        log Σp², the mean logit, and whether the target is the likeliest word. Logits are multiplied
        by `scale` first. All are in fp32, from logits in the compute dtype, as TRL's.
        """
        ctx.set_materialize_grads(False)
        device_type = hidden.device.type
        dtype = (
            torch.get_autocast_dtype(device_type)
            if torch.is_autocast_enabled(device_type)
            else hidden.dtype
        )
        weight, inputs = weight.to(dtype), hidden.to(dtype)
        names = [name for name in _ORDER if name in ("log_probs", *outputs)]
        blocks: dict[str, list[torch.Tensor]] = {name: [] for name in names}
        slopes = torch.empty_like(inputs) if ctx.needs_input_grad[0] else None
        # Under autocast even the sums would be in the products' dtype.
        with torch.autocast(device_type, enabled=False):
            for start in range(0, len(inputs), BLOCK):
                rows = slice(start, start + BLOCK)
                target = targets[rows, None]
                logits = (inputs[rows] @ weight.t()).float().mul_(scale)
                p = logits.softmax(-1)
                for name, values in _values(logits, p, target, names).items():
                    blocks[name].append(values)
                del logits
                if slopes is not None:
                    p.scatter_add_(1, target, torch.full_like(target, -1.0, dtype=p.dtype))
                    torch.mm(p.to(dtype), weight, out=slopes[rows])
                del p
        ctx.scale, ctx.chunk_size = scale, chunk_size
        if slopes is not None:
            ctx.save_for_backward(slopes, hidden, weight, targets)
        results = {
            name: torch.cat(parts) if parts else hidden.new_empty(0, dtype=torch.float32)
            for name, parts in blocks.items()
        }
        non_differentiable = [results[name] for name in _ORDER[2:] if name in results]
        ctx.mark_non_differentiable(*non_differentiable)
        return tuple(results.get(name) for name in _ORDER)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """The gradient of `hidden`, from those of the log-probabilities and the entropies."""
        slopes, hidden, *_ = ctx.saved_tensors
        log_gradient, entropy_gradient = gradients[:2]
        gradient = torch.zeros((), dtype=torch.float32)
        if log_gradient is not None:
            gradient = slopes * (-ctx.scale * log_gradient[:, None])
        if entropy_gradient is not None:  # an entropy bonus is rare, so TRL computes it
            gradient = gradient + _of_entropy(ctx, entropy_gradient)
        return gradient.expand_as(hidden).to(hidden.dtype), None, None, None, None, None


def _of_entropy(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
    _, hidden, weight, targets = ctx.saved_tensors
    with torch.enable_grad():
        inputs = hidden.detach().to(weight.dtype).requires_grad_()
        entropy = ChunkedLogProbFunction.apply(
            inputs, weight, None, targets, 1 / ctx.scale, ctx.chunk_size, None, 1.0, ("entropy",)
        )[1]
    (input_gradient,) = torch.autograd.grad(entropy, inputs, gradient)
    return input_gradient  # type: ignore[no-any-return]


def _values(
    logits: torch.Tensor, p: torch.Tensor, target: torch.Tensor, names: list[str]
) -> dict[str, torch.Tensor]:
    """The outputs `names` of a block, from `logits` and probabilities, both (tokens, words)."""
    largest, likeliest = logits.max(-1)
    # The likeliest word's probability is at least 1 / words, so its logarithm is safe.
    log_z = largest - p.gather(1, likeliest[:, None])[:, 0].log()
    compute: dict[str, Callable[[], torch.Tensor]] = {
        "log_probs": lambda: logits.gather(1, target)[:, 0] - log_z,
        "entropy": lambda: log_z - _dot(p, logits),
        "log_sum_sq_probs": lambda: _dot(p, p).log(),
        "mean_logits": lambda: logits.mean(-1),
        "is_top1": lambda: likeliest == target[:, 0],
    }
    return {name: compute[name]() for name in names}


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The dot product of each pair of rows, without storing the elementwise products."""
    return torch.bmm(a[:, None], b[:, :, None])[:, 0, 0]
