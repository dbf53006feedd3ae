"""The operations in C and those in torch are the same operations."""

import pytest
import torch

from align.inference.kernels import Heads
from align.inference.kernels.plain import PlainOps
from align.inference.options import TALLEST
from tests.align.inference.kernels.random_batches import (
    NAN,
    assert_near,
    decoding,
    random,
    random_cache,
)
from tests.align.inference.kernels.random_lora import RandomLora


@pytest.mark.parametrize("window", [None, 4])
def test_attend_takes_nothing_from_beyond_a_row_or_its_window(ops, dtype, window):
    """A slot keeps what its last owner left, whatever became of it."""
    shape = Heads(4, 2, 16, 0.25, window)
    cache, qkv = random_cache(dtype, shape), random(dtype, 4, shape.width)
    positions = [0, 9, 70, 200]
    batch = decoding(positions)
    clean = ops.attention(shape, cache).attend(qkv, batch)
    for slot, position in zip(batch.slots.tolist(), positions, strict=True):
        cache.keys[slot, :, position + 1 :] = NAN
        cache.values[slot, :, position + 1 :] = NAN
        if window is not None:
            cache.keys[slot, :, : max(0, position + 1 - window)] = 3.0
            cache.values[slot, :, : max(0, position + 1 - window)] = 300.0
    assert torch.equal(ops.attention(shape, cache).attend(qkv, batch), clean)


@pytest.mark.parametrize("where", ["query", "key", "value"])
def test_nan_stays_in_its_row_and_stays_nan(ops, dtype, where):
    shape = Heads(4, 2, 16, 0.25)
    cache, qkv = random_cache(dtype, shape), random(dtype, 3, shape.width)
    batch = decoding([80, 90, 100])
    clean = ops.attention(shape, cache).attend(qkv, batch)
    if where == "query":
        qkv[1, 0] = NAN  # of the first head
    else:
        held = cache.keys if where == "key" else cache.values
        held[batch.slots[1], 0, 70] = NAN  # of the first two heads
    got = ops.attention(shape, cache).attend(qkv, batch)
    assert torch.equal(got[[0, 2]], clean[[0, 2]])
    assert got[1, :16].isnan().all()
    assert torch.equal(got[1, 32:], clean[1, 32:])


BANKS = [[0], [2, 2, -1, 0, 1, 1, 1, 1, 1], [-1, -1, 2], [3, 0, 3, 0, 3, 0, 3], [1] * 5]
WIDTHS = [(16, [16]), (64, [64, 32, 32]), (37, [5, 130]), (100, [64, 1, 20])]
RANKS = [[1, 4, 7, 0], [3, 8, 0, 17], [16, 2, 5, 64]]


def random_rows(layer, count):
    """Inputs and outputs of `count` tokens."""
    x = random(layer.dtype, count, layer.width, seed=1008)
    return x, random(layer.dtype, count, sum(layer.outs), seed=1009)


@pytest.mark.parametrize("few_launches", [False, True], ids=["", "few-launches"])
@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize(("width", "outs"), WIDTHS)
def test_lora_of_rows(ops, dtype, bank, width, outs, few_launches):
    layer = RandomLora(ops, dtype, width, outs, RANKS[: len(outs)])
    x, y = random_rows(layer, len(bank))
    want = layer.by_hand(x, y, bank)
    batch = decoding([0] * len(bank), bank)
    batch.few_launches = few_launches
    layer.lora.add(x, y, batch)
    assert_near(y, want)


@pytest.mark.parametrize("few_launches", [False, True], ids=["", "few-launches"])
@pytest.mark.parametrize(("width", "outs"), WIDTHS)
def test_lora_of_prompts(ops, dtype, width, outs, few_launches):
    layer = RandomLora(ops, dtype, width, outs, RANKS[: len(outs)])
    bank = [-1] * 3 + [2] * 5 + [0] + [3] * 7
    batch = decoding([0] * len(bank), bank)
    batch.spans = ((0, 3, 0, 0), (3, 6, 1, 0), (6, 8, 2, 0), (8, 9, 3, 0), (9, 16, 4, 0))
    batch.groups = ((3, 8, 2), (8, 9, 0), (9, 16, 3))
    batch.few_launches = few_launches
    x, y = random_rows(layer, len(bank))
    want = layer.by_hand(x, y, bank)
    layer.lora.add(x, y, batch)
    assert_near(y, want)


@pytest.mark.parametrize("ranks", [[4, 8], [8, 4], [0, 4], [40, 4], [4, 0]], ids=str)
def test_lora_sees_what_a_slot_holds_now(ops, dtype, ranks):
    layer = RandomLora(ops, dtype, 32, [48, 16], [[4, 8, 3], [4, 0, 3]])
    x, y = random_rows(layer, 3)
    layer.put(1, ranks, seed=7)
    want = layer.by_hand(x, y, [0, 1, 2])
    layer.lora.add(x, y, decoding([0] * 3, [0, 1, 2]))
    assert_near(y, want)


def test_lora_of_the_tallest_rank(ops, dtype):
    layer = RandomLora(ops, dtype, 16, [16], [[TALLEST, 1]])
    x, y = random_rows(layer, 3)
    want = layer.by_hand(x, y, [0, 1, 0])
    layer.lora.add(x, y, decoding([0, 0, 0], [0, 1, 0]))
    assert_near(y, want)


def test_lora_keeps_a_rows_nan_to_itself(ops, dtype):
    layer = RandomLora(ops, dtype, 64, [64], [[4, 4]])
    x, y = random_rows(layer, 5)
    want = layer.by_hand(x, y, [0, 0, 1, -1, 0])
    x[1, 5] = NAN
    layer.lora.add(x, y, decoding([0] * 5, [0, 0, 1, -1, 0]))
    assert y[1].isnan().all()
    keep = [0, 2, 3, 4]
    assert_near(y[keep], want[keep])


def test_a_norm_of_a_stream_in_fp32_is_fused_with_a_weight_in_half_precision(recwarn) -> None:
    x, weight = torch.randn(3, 16), torch.rand(16).half()
    normed = PlainOps().rms_norm(x, weight, 1e-6)
    expected = weight.float() * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(normed, expected)
    assert not [one for one in recwarn if "fused" in str(one.message)]
