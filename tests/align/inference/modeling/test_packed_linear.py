"""Linears on the same input in a single product."""

import pytest
import torch
from torch import nn

from align.inference.modeling.packed_linear import product


def linear(outs, bias, seed, dtype=torch.float32):
    torch.manual_seed(seed)
    return nn.Linear(24, outs, bias=bias).to(dtype).requires_grad_(False)


@pytest.mark.parametrize("biases", [(False, False), (True, True), (True, False)])
@pytest.mark.parametrize(
    ("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=["fp32", "bf16"]
)
def test_outputs_stand_side_by_side(biases, dtype, near):
    parts = [linear(16, biases[0], 1, dtype), linear(40, biases[1], 2, dtype)]
    x = torch.randn(5, 24, generator=torch.Generator().manual_seed(3)).to(dtype)
    wanted = torch.cat([part(x) for part in parts], dim=-1)
    assert torch.allclose(product(parts)(x), wanted, atol=near)


def test_weights_in_fp32_are_not_in_memory_twice():
    parts = [linear(16, False, 1), linear(40, False, 2)]
    before = [part.weight.clone() for part in parts]
    whole = product(parts)
    storages = {part.weight.untyped_storage().data_ptr() for part in parts}
    assert len(storages) == 1
    assert all(torch.equal(part.weight, weight) for part, weight in zip(parts, before, strict=True))
    parts[1].weight.zero_()
    assert (whole(torch.ones(1, 24))[:, 16:] == 0).all()
