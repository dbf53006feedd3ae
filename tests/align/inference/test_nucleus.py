"""The nucleus of many rows at once, against sums in exact fractions."""

import math
from collections import Counter
from fractions import Fraction
from random import Random

import pytest
import torch

from align.inference.nucleus import ROWS, draw_nucleus_at_once, nucleus_edge
from align.inference.sampling_ops import draw_nucleus

HALVES = [0.5, 0.25, 0.125, 0.125]  # exact in binary, so that a sum can be exactly top_p


def members(weights, top_p):
    """The ids in each row's nucleus, by `nucleus_edge`."""
    edge, last = nucleus_edge(weights, top_p)
    return [
        {at for at, weight in enumerate(row) if weight > least or (weight == least and at <= end)}
        for row, least, end in zip(weights.tolist(), edge.tolist(), last.tolist(), strict=True)
    ]


def expected(row, top_p):
    """The ids ahead of which less than `top_p` of the mass is, by sorting."""
    order = sorted(range(len(row)), key=lambda at: (-row[at], at))
    target, ahead, inside = Fraction(top_p) * sum(map(Fraction, row)), Fraction(0), set()
    for at in order:
        if ahead < target:
            inside.add(at)
        ahead += Fraction(row[at])
    return inside


@pytest.mark.parametrize("vocabulary", [5, 128, 1000])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 8.0])
def test_the_nucleus_is_that_of_sorting(vocabulary, temperature):
    noise = torch.Generator().manual_seed(vocabulary)
    # Quarters: many equal logits, as in 16 bits.
    logits = (torch.randn(20, vocabulary, generator=noise) * 8).round() / 4
    weights = (logits / temperature).softmax(-1)
    top_p = torch.rand(20, generator=noise)
    wanted = [expected(*row) for row in zip(weights.tolist(), top_p.tolist(), strict=True)]
    assert members(weights, top_p) == wanted


@pytest.mark.parametrize(
    ("top_p", "inside"),
    [
        (1e-9, {0}),
        (0.3, {0}),  # the likeliest has more than that by itself
        (0.5, {0}),  # and here exactly that
        (math.nextafter(0.5, 1) + 2**-23, {0, 1}),
        (0.75 - 2**-23, {0, 1}),
        (0.75, {0, 1}),  # reached, so the next is out
        (0.75 + 2**-23, {0, 1, 2}),  # of equal weights the lower id comes first
        (0.875, {0, 1, 2}),
        (1 - 2**-24, {0, 1, 2, 3}),
    ],
)
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 1, 3], [250, 260, 270, 299]])
def test_the_edge_of_the_nucleus(top_p, inside, order):
    weights = torch.zeros(2, 300)
    weights[:, order] = torch.tensor(HALVES)
    assert members(weights, torch.full((2,), top_p)) == [{order[at] for at in inside}] * 2


def test_equal_weights_are_cut_by_id():
    weights = torch.full((1, 1000), 1 / 1000)
    assert members(weights, torch.tensor([0.2505])) == [set(range(251))]


def test_draws_are_in_proportion_to_weights():
    """The nucleus is {1, 3}; a first draw of 0.0 is outside, so that the second decides."""
    weights = torch.tensor([0.15, 0.4, 0.05, 0.3, 0.1]).expand(1000, -1)
    top_p, shares = torch.full((1000,), 0.6), (torch.arange(1000).double() + 0.5) / 1000
    outside = torch.zeros(1000, dtype=torch.float64)
    drawn = Counter(draw_nucleus_at_once(weights, top_p, outside, shares).tolist())
    assert drawn == {1: 571, 3: 429}
    # All pairs of a grid: together the draws are spread as the weights of the nucleus.
    grid = shares[12::25]
    pairs = torch.cartesian_prod(grid, grid).T
    many, limits = weights[:1].expand(1600, -1), top_p[:1].expand(1600)
    drawn = Counter(draw_nucleus_at_once(many, limits, *pairs).tolist())
    assert drawn.keys() == {1, 3}
    assert drawn[1] / 1600 == pytest.approx(0.4 / 0.7, abs=0.01)


def test_a_first_draw_inside_is_that_of_the_rejecting_draw():
    noise = torch.Generator().manual_seed(3)
    weights = torch.randn(500, 700, generator=noise).mul(3).softmax(-1)
    top_p = torch.full((500,), 0.8)
    shares = torch.tensor([Random(at).random() for at in range(500)], dtype=torch.float64)
    at_once = draw_nucleus_at_once(weights, top_p, shares, shares.flip(0))
    streams = [Random(at) for at in range(500)]
    rejecting = draw_nucleus(weights, top_p, streams, torch.empty_like(weights))
    fresh = [Random(at) for at in range(500)]
    for stream in fresh:
        stream.random()
    accepted = torch.tensor(
        [one.getstate() == other.getstate() for one, other in zip(streams, fresh, strict=True)]
    )
    assert 350 < int(accepted.sum()) < 450
    assert torch.equal(at_once[accepted], rejecting[accepted])


def test_a_row_does_not_depend_on_its_neighbours():
    noise = torch.Generator().manual_seed(4)
    count = 2 * ROWS + 3
    weights = torch.randn(count, 200, generator=noise).softmax(-1)
    top_p = torch.rand(count, generator=noise)
    shares = torch.rand(2, count, generator=noise, dtype=torch.float64)
    broken = weights.clone()
    broken[0] = torch.nan
    together = draw_nucleus_at_once(broken, top_p, *shares)
    assert 0 <= int(together[0]) < 200
    for at in range(1, count):
        row = slice(at, at + 1)
        alone = draw_nucleus_at_once(weights[row], top_p[row], shares[0, row], shares[1, row])
        assert int(alone) == int(together[at])
