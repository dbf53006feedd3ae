"""Check `compiler`: Triton compiles TRL's kernels for this card, and they compute what they should.

TRL runs its loss in Triton on a card: `trl.kernels.ChunkedLogProbFunction` in all trainers, and
`selective_log_softmax_and_entropy` where all logits exist. Both are compared with plain torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from subprocess import CalledProcessError

import torch

from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.precision import precision

#: The largest relative error of log-probabilities and of gradients, by the dtype of the products.
_ERROR = {"float32": (1e-4, 1e-3), "float16": (5e-3, 2e-2), "bfloat16": (4e-2, 1e-1)}
_ROWS, _HIDDEN, _WORDS, _CHUNK = 96, 64, 5000, 2048

_INSTALL = (
    "install a C compiler and Python's headers (Debian, Ubuntu: apt install gcc python3-dev), or "
    "take the GPU image, which has them"
)


def run(setting: Setting) -> Outcome:
    """See the module."""
    from transformers.utils import is_triton_available

    if not is_triton_available():
        return failed(
            "Triton is not installed: TRL's loss falls back to torch, several times slower; "
            "install the CUDA build of torch, which brings it"
        )
    started, name = time.perf_counter(), precision().name
    try:
        errors = {
            "chunked": chunked_errors(setting.device, precision().dtype),
            "selective": selective_errors(setting.device),
        }
    except (RuntimeError, CalledProcessError) as error:
        if not _lacks_compiler(error):
            raise
        return failed(f"Triton cannot compile its host code: {_INSTALL}")
    seconds = time.perf_counter() - started
    figures = {
        f"{kernel}_{of}_error": error
        for kernel, pair in errors.items()
        for of, error in zip(("value", "gradient"), pair, strict=True)
    }
    bounds = {"chunked": _ERROR[name], "selective": _ERROR["float32"]}
    wrong = [
        kernel
        for kernel, pair in errors.items()
        if not all(error <= bound for error, bound in zip(pair, bounds[kernel], strict=True))
    ]
    if wrong:
        return failed(
            f"TRL's {' and '.join(wrong)} kernel computes something else than torch does: report "
            "it with the JSON; training on this card would be wrong",
            **figures,
        )
    return passed(
        f"Triton runs TRL's kernels, gradients within {max(errors['chunked']):.0e} of torch",
        compile_seconds=round(seconds, 2),
        **figures,
    )


def _lacks_compiler(error: Exception) -> bool:
    """Whether Triton has no C compiler, or its compiler fails, as it does without Python.h."""
    return isinstance(error, CalledProcessError) or "C compiler" in str(error)


def chunked_errors(device: str, dtype: torch.dtype) -> tuple[float, float]:
    """Relative errors of TRL's log-probabilities without logits, and of their gradient."""
    from trl.kernels import ChunkedLogProbFunction

    hidden, weight, targets = _inputs(dtype)

    def trl(states: torch.Tensor) -> torch.Tensor:
        arguments = (weight.to(device), None, targets.to(device), 1.0, _CHUNK)
        logprobs: torch.Tensor = ChunkedLogProbFunction.apply(states, *arguments)[0]
        return logprobs

    def plain(states: torch.Tensor) -> torch.Tensor:
        logits = states @ weight.double().T
        return torch.log_softmax(logits, -1).gather(-1, targets[:, None])[:, 0]

    return _errors(trl, plain, hidden, device)


def selective_errors(device: str) -> tuple[float, float]:
    """Relative errors of TRL's log-probabilities and entropies of logits, and of their gradient."""
    from trl.trainer.utils import selective_log_softmax_and_entropy

    hidden, weight, targets = _inputs(torch.float32)
    logits = hidden @ weight.T

    def trl(scores: torch.Tensor) -> torch.Tensor:
        logprobs, entropy = selective_log_softmax_and_entropy(scores, targets.to(device))
        return torch.stack([logprobs, entropy])

    def plain(scores: torch.Tensor) -> torch.Tensor:
        logps = torch.log_softmax(scores, -1)
        chosen = logps.gather(-1, targets[:, None])[:, 0]
        return torch.stack([chosen, -(logps.exp() * logps).sum(-1)])

    return _errors(trl, plain, logits, device)


def _inputs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(_ROWS, _HIDDEN, generator=generator).to(dtype)
    weight = (torch.randn(_WORDS, _HIDDEN, generator=generator) / _HIDDEN**0.5).to(dtype)
    return hidden, weight, torch.randint(_WORDS, (_ROWS,), generator=generator)


def _errors(
    trl: Callable[[torch.Tensor], torch.Tensor],
    plain: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    device: str,
) -> tuple[float, float]:
    """Relative errors of values and gradients, against `plain` in fp64 on the CPU."""
    here = inputs.to(device, copy=True).requires_grad_()
    exact = inputs.double().requires_grad_()
    got, wanted = trl(here), plain(exact)
    got.sum().backward()
    wanted.sum().backward()
    assert here.grad is not None and exact.grad is not None
    return _relative(got, wanted), _relative(here.grad, exact.grad)


def _relative(got: torch.Tensor, exact: torch.Tensor) -> float:
    difference = got.detach().double().cpu() - exact.detach()
    return float(difference.norm() / exact.detach().norm())


CHECK = Check(
    "compiler", run, seconds=15, card_only="Triton compiles for a card; on a CPU the loss is torch"
)
