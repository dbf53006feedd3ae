"""Operations of kernels in both dtypes: those in C, those in torch."""

import pytest
import torch

from align.inference.kernels.build import compiled
from align.inference.kernels.native import NativeOps
from align.inference.kernels.plain import PlainOps


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def dtype(request):
    return request.param


@pytest.fixture
def native(dtype):
    library = compiled(dtype)
    if library is None:
        pytest.skip("no C compiler")
    return NativeOps(library)


@pytest.fixture(params=["native", "torch"])
def ops(request, dtype):
    return request.getfixturevalue("native") if request.param == "native" else PlainOps()
