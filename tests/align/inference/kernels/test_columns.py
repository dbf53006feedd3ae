"""Which columns an adapter has, and which columns a run of tokens uses."""

import torch

from align.inference.kernels import Columns
from tests.align.inference.kernels.random_batches import decoding

CPU = torch.device("cpu")


def columns(*ranks, slots=None):
    made = Columns(slots or len(ranks), 128, CPU)
    for slot, rank in enumerate(ranks):
        made.assign(slot, rank)
    return made


def prompts(counts, few_launches=True):
    """A batch of prompts with (tokens, bank slot) each."""
    bank = [slot for count, slot in counts for _ in range(count)]
    batch, first = decoding([0] * len(bank), bank), 0
    batch.few_launches, spans, groups = few_launches, [], []
    for at, (count, slot) in enumerate(counts):
        spans.append((first, first + count, at, 0))
        if slot >= 0:
            groups.append((first, first + count, slot))
        first += count
    batch.spans, batch.groups = tuple(spans), tuple(groups)
    return batch


def test_adapters_have_columns_of_their_own_as_many_as_their_rank():
    made = columns(3, 128, 0, 1)
    mine = [made.index(slot).tolist() for slot in range(4)]
    assert list(map(len, mine)) == [3, 128, 0, 1]
    assert len({column for each in mine for column in each}) == 132
    assert 132 <= made.capacity < 132 + 16  # the tall adapter costs only itself


def test_an_adapter_takes_what_others_left_wherever_that_is():
    made = columns(4, 4, 4, 4)
    capacity, version, left = made.capacity, made.version, made.index(0).tolist()
    left += made.index(2).tolist()
    made.assign(0, 0)
    made.assign(2, 8)
    assert made.index(2).tolist() == sorted(left)
    assert (made.capacity, made.version) == (capacity, version)


def test_a_slot_that_is_assigned_again_gives_its_columns_back_first():
    made = columns(16)
    for rank in (16, 5, 16, 9):
        made.assign(0, rank)
        assert made.index(0).tolist() == list(range(rank))
    assert made.capacity == 16 and made.version == 1


def test_capacity_grows_by_half_and_never_beyond_what_the_slots_can_use():
    made, capacities = Columns(16, 128, CPU), []
    for slot in range(16):
        made.assign(slot, 16)
        capacities.append(made.capacity)
    assert capacities == [16, 32, 48, 80, 80] + [128] * 3 + [192] * 4 + [256] * 4
    assert made.version == len(set(capacities))


def rows(bank, few_launches=True):
    batch = decoding([0] * len(bank), bank)
    batch.few_launches = few_launches
    return batch


def test_a_row_sees_the_columns_of_its_adapter_alone():
    made = columns(2, 1, 3)
    made.assign(1, 0)
    (block,) = made.blocks(rows([2, -1, 0, 1]))
    assert (block.rows, block.columns) == (slice(None), slice(None))
    assert block.foreign.shape == (4, made.capacity)
    own = [(~row).nonzero()[:, 0].tolist() for row in block.foreign]
    assert own == [made.index(2).tolist(), [], made.index(0).tolist(), []]


def test_the_mask_of_a_step_is_made_once():
    made, batch = columns(2, 1), rows([0, 1])
    assert made.blocks(batch) is made.blocks(batch)


def test_a_prompt_of_a_single_adapter_needs_neither_mask_nor_copy():
    made = columns(4, 8, 16)
    (block,) = made.blocks(prompts([(3, -1), (5, 1)]))
    assert (block.rows, block.columns, block.foreign) == (slice(3, 8), slice(4, 12), None)


def test_prompts_of_few_adapters_select_their_columns():
    made = columns(4, 16, 4, 16)
    (block,) = made.blocks(prompts([(3, 0), (2, -1), (5, 2)]))
    assert block.rows == slice(0, 10)
    assert block.columns.tolist() == made.index(0).tolist() + made.index(2).tolist()
    assert (~block.foreign).sum(0).tolist() == [3] * 4 + [5] * 4


def test_prompts_of_most_adapters_take_all_columns():
    made = columns(16, 4, 16)
    (block,) = made.blocks(prompts([(3, 0), (5, 2)]))
    assert block.columns == slice(None)
    assert block.foreign.shape == (8, made.capacity)


def test_without_a_preference_for_few_launches_no_arithmetic_is_needless():
    made = columns(4, 8)
    blocks = made.blocks(prompts([(3, 0), (5, 1)], few_launches=False))
    assert [block.rows for block in blocks] == [slice(0, 3), slice(3, 8)]
    assert all(block.foreign is None for block in blocks)


def test_nor_is_any_in_decoding():
    made = columns(4, 8, 2)
    blocks = made.blocks(rows([1, 1, -1, 0, 2, 2], few_launches=False))
    assert [(block.rows, block.columns) for block in blocks] == [
        (slice(0, 2), slice(4, 12)),
        (slice(3, 4), slice(0, 4)),
        (slice(4, 6), slice(12, 14)),
    ]
    assert all(block.foreign is None for block in blocks)


def test_an_adapter_without_factors_needs_no_columns():
    made = columns(4, 0)
    assert not made.blocks(prompts([(5, 1)]))
    assert len(made.blocks(prompts([(5, 1), (3, 0)]))) == 1


def test_tokens_without_an_adapter_between_prompts_of_the_same_see_no_column():
    made = columns(4, 8)
    (block,) = made.blocks(prompts([(3, 1), (2, -1), (4, 1)]))
    assert block.rows == slice(0, 9)
    assert block.foreign.all(1).tolist() == [False] * 3 + [True] * 2 + [False] * 4
