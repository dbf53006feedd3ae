"""Packed products of oneDNN, and where there are none."""

import pytest
import torch
from torch.nn import functional

from align.compat.torch_linear import pack


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bf16 products"
)
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_packed_product_is_the_plain_product(has_bias):
    generator = torch.Generator().manual_seed(0)
    weight, bias, x = (
        torch.randn(shape, generator=generator).bfloat16() for shape in ((48, 32), (48,), (5, 32))
    )
    product = pack(weight, bias if has_bias else None)
    assert product is not None
    expected = functional.linear(x, weight, bias if has_bias else None)
    torch.testing.assert_close(product(x), expected, rtol=0.02, atol=0.02)


def test_without_the_operators_there_is_no_packed_product(monkeypatch):
    def missing(weight):
        raise AttributeError("_reorder_linear_weight")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", missing, raising=False)
    assert pack(torch.zeros(4, 4, dtype=torch.bfloat16), None) is None
