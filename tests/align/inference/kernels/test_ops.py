"""The operations in C and those in torch are the same operations."""

import pytest
import torch

from align.inference.kernels import Heads, LoraPart
from align.inference.options import TALLEST
from tests.align.inference.kernels.random_batches import (
    NAN,
    assert_near,
    decoding,
    random,
    random_cache,
)


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


def factors(dtype, width, outs, ranks_of_parts, seed=0):
    """Random parts side by side; `ranks_of_parts` has each one's rank in each bank slot."""
    parts, offset = [], 0
    for at, (out, ranks) in enumerate(zip(outs, ranks_of_parts, strict=True)):
        capacity = max(1, *ranks)
        a = random(dtype, len(ranks), capacity, width, seed=seed + 2 * at)
        b = random(dtype, len(ranks), capacity, out, seed=seed + 2 * at + 1)
        for slot, rank in enumerate(ranks):
            a[slot, rank:], b[slot, rank:] = 0, 0
        parts.append(LoraPart(a, b, torch.tensor(ranks, dtype=torch.int32), offset))
        offset += out
    return parts


def by_hand(parts, x, y, bank):
    wide = y.double()
    for row, slot in enumerate(bank):
        for part in parts if slot >= 0 else ():
            delta = part.b[slot].double().T @ (part.a[slot].double() @ x[row].double())
            wide[row, part.offset : part.offset + part.b.shape[2]] += delta
    return wide.to(y.dtype)


BANKS = [[0], [2, 2, -1, 0, 1, 1, 1, 1, 1], [-1, -1, 2], [3, 0, 3, 0, 3, 0, 3], [1] * 5]
WIDTHS = [(16, [16]), (64, [64, 32, 32]), (37, [5, 130]), (100, [64, 1, 20])]
RANKS = [[1, 4, 7, 0], [3, 8, 0, 17], [16, 2, 5, 64]]


@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize(("width", "outs"), WIDTHS)
def test_lora_of_rows(ops, dtype, bank, width, outs):
    parts = factors(dtype, width, outs, RANKS[: len(outs)])
    x, y = random(dtype, len(bank), width, seed=8), random(dtype, len(bank), sum(outs), seed=9)
    want = by_hand(parts, x, y, bank)
    ops.lora(parts).add(x, y, decoding([0] * len(bank), bank))
    assert_near(y, want)


@pytest.mark.parametrize(("width", "outs"), WIDTHS)
def test_lora_of_prompts(ops, dtype, width, outs):
    parts = factors(dtype, width, outs, RANKS[: len(outs)])
    bank = [-1] * 3 + [2] * 5 + [0] + [3] * 7
    batch = decoding([0] * len(bank), bank)
    batch.spans = ((0, 3, 0, 0), (3, 6, 1, 0), (6, 8, 2, 0), (8, 9, 3, 0), (9, 16, 4, 0))
    batch.groups = ((3, 8, 2), (8, 9, 0), (9, 16, 3))
    x, y = random(dtype, len(bank), width, seed=8), random(dtype, len(bank), sum(outs), seed=9)
    want = by_hand(parts, x, y, bank)
    ops.lora(parts).add(x, y, batch)
    assert_near(y, want)


def test_lora_sees_what_a_slot_holds_now(ops, dtype):
    parts = factors(dtype, 32, [48], [[4, 8]])
    sum_of = ops.lora(parts)
    parts[0].a[1], parts[0].b[1] = parts[0].a[0].clone(), parts[0].b[0].clone()
    parts[0].ranks[1] = 4
    x, y = random(dtype, 2, 32), random(dtype, 2, 48)
    x[1], y[1] = x[0], y[0]
    sum_of.add(x, y, decoding([0, 0], [0, 1]))
    assert_near(y[1:], y[:1])


def test_lora_of_the_tallest_rank(ops, dtype):
    parts = factors(dtype, 16, [16], [[TALLEST, 1]])
    x, y = random(dtype, 3, 16), random(dtype, 3, 16)
    want = by_hand(parts, x, y, [0, 1, 0])
    ops.lora(parts).add(x, y, decoding([0, 0, 0], [0, 1, 0]))
    assert_near(y, want)


def test_lora_keeps_a_rows_nan_to_itself(ops, dtype):
    parts = factors(dtype, 64, [64], [[4, 4]])
    x, y = random(dtype, 5, 64), random(dtype, 5, 64)
    want = by_hand(parts, x, y, [0, 0, 1, -1, 0])
    x[1, 5] = NAN
    ops.lora(parts).add(x, y, decoding([0] * 5, [0, 0, 1, -1, 0]))
    assert y[1].isnan().all()
    keep = [0, 2, 3, 4]
    assert_near(y[keep], want[keep])
