"""Errors of an allocation that failed: what they look like, and where they came from."""

from __future__ import annotations

import re
import traceback

import torch
from accelerate.utils.memory import should_reduce_batch_size

from align.errors import AligneryError

_ENGINE = "align.inference."
#: Where CUDA itself has no memory, for kernels that are loaded or a library that starts.
_OUTSIDE = re.compile(
    r"(CUDA (driver )?error|Triton Error \[CUDA\]): out of memory|CUBLAS_STATUS_ALLOC_FAILED"
    r"|CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate"
)


def ran_out(error: RuntimeError) -> bool:
    """Whether memory ran out; a CPU's allocator and cuBLAS raise plain RuntimeErrors."""
    if isinstance(error, AligneryError):
        return False
    known_message = _OUTSIDE.search(str(error)) is not None or should_reduce_batch_size(error)
    return known_message or isinstance(error, torch.OutOfMemoryError)


def in_engine(error: BaseException) -> bool:
    """Whether the engine raised it: its memory does not depend on a trainer's micro-batch."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__", "")).startswith(_ENGINE) for frame, _ in frames)
