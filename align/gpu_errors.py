"""Errors after which a process can no longer use its GPU. Imports no torch.

After some errors every later call of CUDA in the process fails, whatever it does. NVIDIA's
documentation of `cudaError` says of them that the process must be terminated and relaunched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from align.errors import GpuLost

#: Texts of `cudaGetErrorString` (CUDA 13) for errors that end the context, and codes of libraries
#: that report such an error of an earlier kernel as their own.
_FATAL = (
    "device-side assert triggered",
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "hardware stack error",
    "unspecified launch failure",
    "the launch timed out and was terminated",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "context is destroyed",
    "unknown error",
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_INTERNAL_ERROR",
    "CUDNN_STATUS_EXECUTION_FAILED",
)
_REASON = re.compile(
    r"(?:CUDA (?:driver )?error|cuDNN error|Triton Error \[CUDA\]): "
    f"({'|'.join(map(re.escape, _FATAL))})"
)


def lost_gpu(error: BaseException) -> GpuLost | None:
    """The error to report if `error`, or an error behind it, ended the use of the GPU; else None.

    Memory that ran out and calls with wrong arguments leave the GPU usable. An error is recognised
    by its message, as torch raises it: `torch.AcceleratorError` or another RuntimeError.
    """
    for cause in _chain(error):
        if isinstance(cause, GpuLost):
            return cause
        if isinstance(cause, RuntimeError) and (match := _REASON.search(str(cause))):
            return GpuLost(
                f"CUDA reports '{match.group(1)}', and this process cannot use its GPU any more"
            )
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from or during the handling of."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [cause for cause in (current.__context__, current.__cause__) if cause]
