"""Attention of prompts that are read: every token sees itself and what came before."""

import pytest
import torch

from align.inference.kernels import Heads, LayerCache
from align.inference.modeling.prompt_attention import group_spans, read
from tests.align.inference.kernels.random_batches import (
    NAN,
    SLOTS,
    assert_near,
    decoding,
    random,
    random_cache,
)

TOKENS = 12


@pytest.fixture(params=[False, True], ids=["", "few-launches"])
def few_launches(request):
    return request.param


def reading(spans, few_launches):
    batch = decoding([0])
    batch.spans, batch.few_launches = spans, few_launches
    return batch


def means(spans, few_launches, window=None):
    """What queries of zeros read where the value at a position is that position."""
    values = torch.arange(float(TOKENS)).expand(4, 1, TOKENS)[..., None].repeat(1, 1, 1, 2)
    cache = LayerCache(torch.zeros_like(values), values)
    queries = torch.zeros(sum(end - first for first, end, _, _ in spans), 2, 2)
    out = read(cache, queries, reading(spans, few_launches), 1.0, window)
    assert out.shape == (len(queries), 4)
    return out[:, 0].tolist()


def test_a_prompt_is_read_causally(few_launches):
    assert means(((0, 4, 2, 0),), few_launches) == pytest.approx([0.0, 0.5, 1.0, 1.5])


def test_a_prompt_goes_on_from_what_its_slot_holds(few_launches):
    assert means(((0, 2, 1, 4),), few_launches) == pytest.approx([2.0, 2.5])


def test_runs_are_read_side_by_side(few_launches):
    spans = ((0, 2, 1, 4), (2, 5, 0, 0))
    assert means(spans, few_launches) == pytest.approx([2.0, 2.5, 0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("start", "wanted"), [(0, [0.0, 0.5, 1.5, 2.5]), (6, [5.5, 6.5, 7.5, 8.5])]
)
def test_a_window_hides_what_is_too_long_ago(start, wanted, few_launches):
    spans = ((0, 4, 3, start), (4, 8, 1, start))
    assert means(spans, few_launches, window=2) == pytest.approx(wanted * 2)


COUNTS = (100, 3, 90, 1, 100, 70, 2, 64)
STARTS = (0, 0, 17, 5, 100, 0, 0, 150)


def mixed_spans():
    spans, first = [], 0
    for slot, (count, start) in enumerate(zip(COUNTS, STARTS, strict=True)):
        spans.append((first, first + count, SLOTS - 1 - slot, start))
        first += count
    return tuple(spans)


def test_mixed_lengths_are_in_few_groups():
    assert [len(group) for group in group_spans(mixed_spans())] == [5, 3]


@pytest.mark.parametrize("window", [None, 5, 80])
@pytest.mark.parametrize("shape", [Heads(4, 2, 16, 0.25), Heads(6, 1, 24, 0.2), Heads(3, 3, 8, 1)])
def test_spans_attended_together_equal_each_alone(shape, window):
    """What lies beyond a span in its slot, and padding, has no part in it."""
    spans, dtype = mixed_spans(), torch.float32
    cache, queries = random_cache(dtype, shape), random(dtype, sum(COUNTS), shape.heads, shape.head)
    for first, end, slot, start in spans:
        cache.keys[slot, :, start + end - first :] = NAN
        cache.values[slot, :, start + end - first :] = NAN
    alone, together = (
        read(cache, queries, reading(spans, few), shape.scale, window) for few in (False, True)
    )
    assert together.isfinite().all()
    assert_near(together, alone)


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([(5, 0)], [1]),
        ([(100, 0)] * 8, [8]),
        ([(100, 0), (70, 0)], [2]),  # 2 * 100 * 100 against 100 * 100 + 70 * 70
        ([(100, 0), (10, 0), (10, 0)], [2, 1]),
        ([(80, 920), (80, 0)], [2]),
        ([(80, 920), (80, 0), (80, 0)], [2, 1]),  # 3 * 80000 against 80000 + 2 * 6400
        ([(50, 0), (1, 0), (2, 0), (3, 0)], [4]),  # small
        ([(1000, 0)] * 5, [2, 2, 1]),  # of at most 2 ** 21
        ([(3000, 0)] * 2, [1, 1]),
    ],
)
def test_groups_hold_little_padding_and_are_bounded(sizes, wanted):
    spans = tuple((0, count, slot, start) for slot, (count, start) in enumerate(sizes))
    groups = group_spans(spans)
    assert [len(group) for group in groups] == wanted
    assert sorted(span for group in groups for span in group) == sorted(spans)
