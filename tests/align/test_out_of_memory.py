"""Memory that ran out is told from other errors, and in the engine from a trainer."""

import pytest
import torch

from align.errors import TrainingError
from align.inference import GenerationRequest
from align.inference.batch_api import complete
from align.out_of_memory import in_engine, ran_out

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
CPU = RuntimeError("[enforce fail at cpu.cpp] . DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (GPU, True),
        (CPU, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`"),
            True,
        ),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), True),
        (RuntimeError("Triton Error [CUDA]: out of memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("mat1 and mat2 shapes do not match"), False),
        (TrainingError("step 1: CUDA out of memory. Tried"), False),
    ],
)
def test_an_allocators_error_is_known(error, full):
    assert ran_out(error) is full


class Full:
    """An engine without memory."""

    def submit(self, *_, **__):
        raise GPU


def test_an_error_is_the_engines_if_it_passed_through_it():
    with pytest.raises(torch.OutOfMemoryError) as outside:
        Full().submit()
    assert not in_engine(outside.value)
    with pytest.raises(torch.OutOfMemoryError) as inside:
        complete(Full(), [GenerationRequest([1], None, 1)], None)
    assert in_engine(inside.value)
    assert not in_engine(RuntimeError("never raised"))
