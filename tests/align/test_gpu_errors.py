"""Which errors end the use of a GPU, by messages that torch 2.13 and Triton 3.9 give."""

from __future__ import annotations

import pickle

import pytest
import torch

from align.errors import AdapterError, GpuLost, TrainingError
from align.gpu_errors import lost_gpu

HELP = (
    "\nSearch for `{name}' in https://docs.nvidia.com/cuda/cuda-runtime-api/"
    "group__CUDART__TYPES.html for more information.\nCUDA kernel errors might be "
    "asynchronously reported at some other API call, so the "
    "stacktrace below might be incorrect.\nFor debugging consider passing "
    "CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)
ASSERT = f"CUDA error: device-side assert triggered{HELP.format(name='cudaErrorAssert')}"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.AcceleratorError(ASSERT), "device-side assert triggered"),
        (
            torch.AcceleratorError(
                "CUDA error: an illegal memory access was encountered"
                + HELP.format(name="cudaErrorIllegalAddress")
            ),
            "an illegal memory access was encountered",
        ),
        (
            RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
            "an illegal memory access was encountered",
        ),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), "unspecified launch"),
        (RuntimeError("CUDA driver error: unknown error"), "unknown error"),
        (
            RuntimeError(
                "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, "
                "opa, opb, m, n, k, &falpha, a, CUDA_R_16F, lda)`"
            ),
            "CUBLAS_STATUS_EXECUTION_FAILED",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "CUDNN_STATUS_EXECUTION"),
    ],
)
def test_after_these_errors_a_process_cannot_use_its_gpu(error, reason):
    lost = lost_gpu(error)
    assert isinstance(lost, GpuLost) and reason in str(lost)
    assert "\n" not in str(lost)
    assert str(pickle.loads(pickle.dumps(lost))) == str(lost)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 14.56 "
            "GiB of which 9.75 MiB is free."
        ),
        torch.AcceleratorError(f"CUDA error: out of memory{HELP.format(name='cudaErrorMemory')}"),
        torch.AcceleratorError("CUDA error: invalid argument"),
        torch.AcceleratorError("CUDA error: no kernel image is available for execution"),
        torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"),
        RuntimeError("expected scalar type Half but got Float: misaligned address"),
        ValueError(ASSERT),
        TrainingError("loss is NaN at step 1"),
    ],
)
def test_after_others_it_can(error):
    assert lost_gpu(error) is None


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_an_error_that_hides_a_lost_gpu_counts_too():
    """As where code reports every failure of a step as its own error."""
    for suppress in (False, True):
        try:
            try:
                raise torch.AcceleratorError(ASSERT)
            except RuntimeError as error:
                raise AdapterError("cannot be read") from (None if suppress else error)
        except AdapterError as error:
            assert "device-side assert" in str(lost_gpu(error))
    known = GpuLost("CUDA reports 'misaligned address'")
    assert lost_gpu(known) is known


def test_errors_that_name_each_other_come_to_an_end():
    first, second = raised(ValueError("one")), raised(ValueError("two"))
    first.__context__, second.__context__ = second, first
    assert lost_gpu(first) is None
