"""The operations in C and those in torch are the same operations."""

import pytest
import torch

from align.adapters.tensors import LoraFactors
from align.inference.kernels import Batch, Heads, LayerCache, LoraPart
from align.inference.kernels.build import compiled
from align.inference.kernels.native import NativeOps
from align.inference.kernels.plain import PlainOps
from align.inference.modeling.bank import Bank
from align.inference.options import TALLEST

#: Relative to the largest value: sums in another order; in bf16 one rounding more or less.
NEAR = {torch.float32: 3e-6, torch.bfloat16: 1.6e-2}
SLOTS, TOKENS = 11, 260
NAN = float("nan")


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


@pytest.mark.parametrize("width", [1, 15, 16, 17, 64, 1000])
@pytest.mark.parametrize("rows", [1, 5, 9])
def test_rms_norm(native, dtype, rows, width):
    x, weight = random(dtype, 1, rows, width), random(dtype, width, seed=1)
    x[0, 0, width // 2] = NAN
    assert_near(native.rms_norm(x, weight, 1e-5), PlainOps().rms_norm(x, weight, 1e-5))


@pytest.mark.parametrize("width", [1, 15, 16, 17, 1000])
@pytest.mark.parametrize("rows", [1, 5, 9])
def test_silu_mul(native, dtype, rows, width):
    x = random(dtype, 1, rows, 2 * width) * 30
    x[0, rows - 1, width - 1] = x[0, 0, -1] = NAN
    assert_near(native.silu_mul(x), PlainOps().silu_mul(x))


@pytest.mark.parametrize("normed", [False, True], ids=["", "normed"])
@pytest.mark.parametrize(("heads", "kv_heads", "head"), [(4, 2, 16), (7, 1, 48), (3, 3, 128)])
@pytest.mark.parametrize("rows", [1, 6])
def test_rotate_and_store(native, dtype, rows, heads, kv_heads, head, normed):
    norms = [random(dtype, head, seed=seed) if normed else None for seed in (5, 6)]
    shape = Heads(heads, kv_heads, head, 0.1, None, *norms)
    qkv = random(dtype, rows, shape.width)
    qkv[0, 3] = qkv[rows - 1, -2] = NAN
    cosine, sine = random(dtype, rows, head, seed=1), random(dtype, rows, head, seed=2)
    batch, results = decoding([7 * row % TOKENS for row in range(rows)]), []
    for ops in (native, PlainOps()):
        cache = random_cache(dtype, shape)
        done = ops.attention(shape, cache).rotate_and_store(qkv.clone(), cosine, sine, batch)
        results.append((done[:, : heads * head], cache.keys, cache.values))
    for ours, theirs in zip(*results, strict=True):
        assert_near(ours, theirs)


@pytest.mark.parametrize("window", [None, 1, 5, 64, 100])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "head"),
    [
        *((group, 1, 16) for group in range(1, 8)),
        *((group, 1, 64) for group in range(1, 8)),
        *((2 * group, 2, 128) for group in (1, 2, 5)),
        (4, 2, 32),
        (3, 1, 48),
        (4, 2, 80),
        (2, 1, 256),
        (4, 2, 24),
        (2, 1, 272),
    ],
)
def test_attend(native, dtype, heads, kv_heads, head, window):
    shape = Heads(heads, kv_heads, head, head**-0.5, window)
    cache, qkv = random_cache(dtype, shape), 2 * random(dtype, 9, shape.width)
    batch = decoding([0, 1, 15, 62, 63, 64, 65, 130, TOKENS - 1])
    assert_near(
        native.attention(shape, cache).attend(qkv, batch),
        PlainOps().attention(shape, cache).attend(qkv, batch),
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
