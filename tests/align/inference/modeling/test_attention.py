"""Attention of prompts that are read: every token sees itself and what came before."""

import pytest
import torch

from align.inference.kernels import LayerCache
from align.inference.modeling.attention import read
from tests.align.inference.kernels.random_batches import decoding

TOKENS = 12


def means(spans, window=None):
    """What queries of zeros read where the value at a position is that position."""
    values = torch.arange(float(TOKENS)).expand(4, 1, TOKENS)[..., None].repeat(1, 1, 1, 2)
    cache = LayerCache(torch.zeros_like(values), values)
    batch = decoding([0])
    batch.spans = spans
    queries = torch.zeros(sum(end - first for first, end, _, _ in spans), 2, 2)
    out = read(cache, queries, batch, 1.0, window)
    assert out.shape == (len(queries), 4)
    return out[:, 0].tolist()


def test_a_prompt_is_read_causally():
    assert means(((0, 4, 2, 0),)) == pytest.approx([0.0, 0.5, 1.0, 1.5])


def test_a_prompt_goes_on_from_what_its_slot_holds():
    assert means(((0, 2, 1, 4),)) == pytest.approx([2.0, 2.5])


def test_runs_are_read_side_by_side():
    assert means(((0, 2, 1, 4), (2, 5, 0, 0))) == pytest.approx([2.0, 2.5, 0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("start", "wanted"), [(0, [0.0, 0.5, 1.5, 2.5]), (6, [5.5, 6.5, 7.5, 8.5])]
)
def test_a_window_hides_what_is_too_long_ago(start, wanted):
    assert means(((0, 4, 3, start),), window=2) == pytest.approx(wanted)
