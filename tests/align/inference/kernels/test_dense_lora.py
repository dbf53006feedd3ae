"""LoRA as one product over all adapters equals each adapter alone, and nothing of a neighbour."""

import pytest
import torch

from align.inference.kernels.plain import PlainOps
from tests.align.inference.kernels.random_batches import decoding, random
from tests.align.inference.kernels.random_lora import RandomLora

#: fp32 sums in another order, relative to the largest value.
EXACT = 5e-7
WIDTH, OUTS = 64, [48, 16, 16]
MIXED = [[1, 2, 8, 16, 0, 128, 5, 32], [1, 2, 8, 16, 4, 128, 0, 7], [1, 0, 8, 16, 4, 128, 9, 0]]


def step(bank):
    """A decode step of rows with these bank slots, as on a GPU."""
    batch = decoding([0] * len(bank), bank)
    batch.few_launches = True
    return batch


def assert_exact(ours, theirs):
    assert float((ours - theirs).abs().max()) <= EXACT * float(theirs.abs().max())


def alone(layer, x, bank):
    """Deltas of each row from a layer that holds this row's adapter alone."""
    rows = []
    for row, slot in zip(x, bank, strict=True):
        y = torch.zeros(1, sum(layer.outs))
        if slot >= 0:
            single = RandomLora(PlainOps(), layer.dtype, layer.width, layer.outs, [[0]] * 3)
            pairs = layer.adapters[slot]
            single.columns.assign(0, max(pair[0].shape[0] for pair in pairs if pair is not None))
            single.lora.put(0, pairs)
            single.lora.add(row[None], y, step([0]))
        rows.append(y)
    return torch.cat(rows)


def test_mixed_ranks_equal_each_adapter_alone():
    layer = RandomLora(PlainOps(), torch.float32, WIDTH, OUTS, MIXED)
    bank = [*range(8), -1, 5, 3, 0, -1, 7]
    x, y = random(torch.float32, len(bank), WIDTH, seed=9), torch.zeros(len(bank), sum(OUTS))
    layer.lora.add(x, y, step(bank))
    want = alone(layer, x, bank)
    for row in range(len(bank)):
        assert_exact(y[row], want[row])
    assert (y[8] == 0).all()


def test_growth_in_between_changes_no_loaded_adapter():
    layer = RandomLora(PlainOps(), torch.float32, WIDTH, OUTS, [[4, 0, 0]] * 3)
    x, bank = random(torch.float32, 3, WIDTH, seed=9), [0, 1, 2]
    for slot, ranks in ((1, [20, 3, 0]), (2, [128, 128, 128]), (1, [60, 70, 80])):
        version = layer.columns.version
        layer.put(slot, ranks, seed=20 + ranks[0])
        assert layer.columns.version > version
        y = torch.zeros(3, sum(OUTS))
        layer.lora.add(x, y, step(bank))
        assert_exact(y, layer.by_hand(x, torch.zeros_like(y), bank))


def test_a_used_slot_holds_nothing_of_its_last_adapter():
    layer = RandomLora(PlainOps(), torch.float32, WIDTH, OUTS, [[8, 8]] * 3)
    x, bank = random(torch.float32, 2, WIDTH, seed=9), [0, 1]
    layer.put(0, [3, 0, 2], seed=30)
    y = torch.zeros(2, sum(OUTS))
    layer.lora.add(x, y, step(bank))
    assert_exact(y, layer.by_hand(x, torch.zeros_like(y), bank))
    assert (y[0, OUTS[0] : OUTS[0] + OUTS[1]] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("evicted", [True, False], ids=["free", "neighbour"])
def test_the_overflow_of_other_columns_stays_out(dtype, evicted):
    """Products with the factors of another adapter may be infinite, and their sum NaN."""
    largest = float(torch.finfo(dtype).max)
    layer = RandomLora(PlainOps(), dtype, WIDTH, OUTS, [[4, 4]] * 3)
    layer.put(0, [4, 4, 4], seed=41, scale=0.01)
    layer.put(1, [4, 4, 4], seed=40, scale=largest / 8)
    bank = [0, -1, 0] if evicted else [0, -1, 1]
    x = 1000 * random(torch.float32, 3, WIDTH, seed=9).sign().to(dtype)
    overflow = x @ layer.adapters[1][0][0].T
    assert not overflow.isfinite().any()
    if evicted:
        layer.columns.assign(1, 0)
        layer.lora.put(1, [None] * 3)
    y = torch.zeros(3, sum(OUTS), dtype=dtype)
    layer.lora.add(x, y, step(bank))
    want = layer.by_hand(x[:1], torch.zeros_like(y[:1]), bank[:1])
    assert torch.allclose(
        y[:1].float(), want.float(), rtol=2e-2, atol=2e-2 * float(want.abs().max())
    )
    assert (y[1] == 0).all()
    assert evicted or not y[2].isfinite().any()


@pytest.mark.parametrize("few_launches", [False, True], ids=["", "few-launches"])
def test_prompts_equal_their_tokens_fed_as_rows(few_launches):
    layer = RandomLora(PlainOps(), torch.float32, WIDTH, OUTS, MIXED)
    bank = [5] * 4 + [-1] * 2 + [0] * 3 + [4] + [7] * 5 + [6] * 2
    x = random(torch.float32, len(bank), WIDTH, seed=9)
    rows, prompts = torch.zeros(2, len(bank), sum(OUTS))
    layer.lora.add(x, rows, step(bank))
    batch = decoding([0] * len(bank), bank)
    batch.spans = ((0, len(bank), 0, 0),)
    batch.groups = ((0, 4, 5), (6, 9, 0), (9, 10, 4), (10, 15, 7), (15, 17, 6))
    batch.few_launches = few_launches
    layer.lora.add(x, prompts, batch)
    assert_exact(prompts, rows)


def test_linears_with_as_many_outputs_share_both_products():
    """A launch for A, a mask, and a product with B for each width: not one for each linear."""
    operations = []

    class Log(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            operations.append(str(function).removeprefix("aten.").partition(".")[0])
            return function(*args, **(kwargs or {}))

    layer = RandomLora(PlainOps(), torch.float32, WIDTH, OUTS, MIXED)
    x, y = random(torch.float32, 4, WIDTH), torch.zeros(4, sum(OUTS))
    batch = step([0, 1, 2, 5])
    layer.columns.blocks(batch)  # made once in a pass
    with Log():
        layer.lora.add(x, y, batch)
    launches = [name for name in operations if name in ("mm", "masked_fill_", "baddbmm_")]
    assert launches == ["mm", "masked_fill_", "baddbmm_", "baddbmm_"]
    assert set(operations) <= {
        *("mm", "masked_fill_", "baddbmm_"),
        *("slice", "t", "transpose", "view", "unsqueeze", "_unsafe_view", "detach", "alias"),
    }
