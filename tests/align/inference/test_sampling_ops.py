"""Ranking and drawing of tokens from weights, against what can be worked out by hand."""

import math
from collections import Counter
from random import Random

import pytest
import torch

from align.inference.sampling_ops import draw, draw_few, draw_nucleus, ranked, uniforms


@pytest.mark.parametrize("count", [0, 1, 5, 64, 200, 5001, 9000])
def test_ranking_is_by_value_then_by_id(count):
    values = (torch.randn(4, 5001) * 4).round()
    values[0, :100] = -torch.inf
    want = values.sort(dim=-1, descending=True, stable=True).indices[:, :count]
    assert torch.equal(ranked(values, count), want)


def test_draws_are_in_proportion_to_weights():
    weights = torch.tensor([3.0, 0.0, 50.0, 7.0] + [0.0] * 50 + [40.0, 0.0])
    shares = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    drawn = Counter(draw(weights.expand(1000, -1), shares).tolist())
    assert drawn == {0: 30, 2: 500, 3: 70, 54: 400}
    limits, top_p = torch.full((1000,), 3), torch.full((1000,), 0.9)
    few = draw_few(weights.expand(1000, -1), 3, limits, top_p, shares)
    assert Counter(few.tolist()) == {2: 556, 54: 444}


@pytest.mark.parametrize("value", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_draw_possible_tokens(value):
    weights = torch.zeros(2, 200)
    weights[0, 40:60], weights[1, 133] = 0.1, 1e-30
    drawn = draw(weights, torch.full((2,), value, dtype=torch.float64)).tolist()
    assert drawn == [40 if value == 0 else 59, 133]


def test_nothing_outside_the_nucleus_is_drawn():
    weights = torch.tensor([0.15, 0.4, 0.05, 0.3, 0.1]).expand(2000, -1)
    streams = [Random(at) for at in range(2000)]
    drawn = draw_nucleus(weights, torch.full((2000,), 0.6), streams, torch.empty(2000, 5))
    counts = Counter(drawn.tolist())
    assert set(counts) == {1, 3}
    assert counts[1] / 2000 == pytest.approx(0.4 / 0.7, abs=0.04)


HALVES = [0.5, 0.25, 0.125, 0.125]  # exact in binary, so that a sum can be exactly top_p


@pytest.mark.parametrize(
    ("top_p", "inside"),
    [
        (0.3, {0}),  # the likeliest has more than that by itself
        (0.5, {0}),  # and here exactly that
        (math.nextafter(0.5, 1) + 2**-23, {0, 1}),
        (0.75 - 2**-23, {0, 1}),
        (0.75, {0, 1}),  # reached, so the next one is out
        (0.75 + 2**-23, {0, 1, 2}),  # of equal ones the lower id comes first
        (0.875, {0, 1, 2}),
        (0.9, {0, 1, 2, 3}),
    ],
)
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 1, 3]])
def test_the_edge_of_the_nucleus(top_p, inside, order):
    """The smallest set of the likeliest that reaches top_p, by both ways of drawing from it."""
    weights = torch.zeros(400, 40)
    weights[:, order] = torch.tensor(HALVES)
    rows, edge = range(400), torch.full((400,), top_p)
    streams = [Random(at) for at in rows]
    drawn = draw_nucleus(weights, edge, streams, torch.empty(400, 40))
    few = draw_few(weights, 4, torch.full((400,), 4), edge, uniforms(streams, edge.device))
    # Of the two that are equal, the one of the lower id is ahead wherever they stand.
    assert set(drawn.tolist()) == set(few.tolist()) == {order[at] for at in inside}
