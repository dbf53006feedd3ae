"""Random tensors, batches and caches, and when two results are near enough."""

import torch

from align.inference.kernels import Batch, LayerCache

#: Relative to the largest value: sums in another order; in bf16 one rounding more or less.
NEAR = {torch.float32: 3e-6, torch.bfloat16: 1.6e-2}
SLOTS, TOKENS = 11, 260
NAN = float("nan")


def random(dtype, *shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_near(ours, theirs):
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert torch.equal(ours.isnan(), theirs.isnan())
    largest = theirs.float().nan_to_num().abs().max()
    difference = (ours.float() - theirs.float()).nan_to_num().abs().max()
    assert float(difference) <= NEAR[ours.dtype] * float(largest)


def decoding(positions, bank=None, slots=None):
    """A batch of rows, each in a slot of its own unless `slots` says otherwise."""
    rows = len(positions)
    ints = {
        "slots": slots or [(3 * row + 2) % SLOTS for row in range(rows)],
        "positions": positions,
        "bank": bank or [-1] * rows,
    }
    adapted = any(one >= 0 for one in ints["bank"])
    tensors = {name: torch.tensor(values, dtype=torch.int32) for name, values in ints.items()}
    return Batch(**tensors, longest=max(positions) + 1, adapted=adapted)


def random_cache(dtype, heads):
    shape = (SLOTS, heads.kv_heads, TOKENS, heads.head)
    return LayerCache(random(dtype, *shape, seed=3), random(dtype, *shape, seed=4))
