"""Linear layers that add the LoRA of each token's adapter."""

import torch

from align.adapters.tensors import LoraFactors
from align.inference.modeling.bank import Bank
from tests.align.inference.kernels.random_batches import (
    decoding,
    random,
)


def test_a_slice_is_as_good_as_its_copy(ops, dtype):
    """Some families hand a linear layer half of another's output."""
    bank = Bank(2, 8, ops)
    linear = torch.nn.Linear(24, 40, bias=False).to(dtype).requires_grad_(False)
    layer = bank.linear({"it": linear})
    parts = random(torch.float32, 4, 24), random(torch.float32, 40, 4, seed=1)
    bank.put(1, bank.prepare(LoraFactors({"it": parts}), "test"))
    bank.batch = decoding([0] * 3, [1, -1, 1])
    x = random(dtype, 1, 3, 48)[..., 24:]
    assert torch.equal(layer(x), layer(x.clone(memory_format=torch.contiguous_format)))
    assert not torch.equal(layer(x)[0, 0], linear(x)[0, 0])
