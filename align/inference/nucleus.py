"""Draws from the nucleus of each row in a fixed number of operations, for a card.

Nothing is read back from the device, so the host never waits, and the next step can be queued.
"""

from __future__ import annotations

import torch
from torch import Tensor

from align.inference.sampling_ops import draw

#: Weights of a run: runs are sorted one by one, which torch does in a card's shared memory.
RUN = 128
#: Rows that are sorted together: with a vocabulary of 152,000 they take 120 MB meanwhile.
ROWS = 16
_BITS = 5  # thresholds are tried 2**_BITS at a time
_WIDTH = 30  # bits of a float up to 1, without those that are always 0


def draw_nucleus_at_once(weights: Tensor, top_p: Tensor, shares: Tensor, spare: Tensor) -> Tensor:
    """As `sampling_ops.draw_nucleus`, in the same distribution, without reading values back.

    weights (rows, vocabulary) in fp32, from 0 to 1; top_p (rows,) below 1; `shares` and `spare`
    (rows,) in fp64, uniform in [0, 1) → (rows,). A token is drawn from all with `shares`, as
    `draw_nucleus` does. If it is outside the nucleus, `spare` draws from the nucleus, where
    `draw_nucleus` would draw from the tokens ahead of it: only then the results differ.
    """
    parts = [tensor.split(ROWS) for tensor in (weights, top_p, shares, spare)]
    drawn = [_draw(*part) for part in zip(*parts, strict=True)]
    return drawn[0] if len(drawn) == 1 else torch.cat(drawn)


def _draw(weights: Tensor, top_p: Tensor, shares: Tensor, spare: Tensor) -> Tensor:
    edge, last = nucleus_edge(weights, top_p)
    first = draw(weights, shares)
    own = weights.gather(-1, first[:, None])[:, 0]
    inside = (own > edge) | ((own == edge) & (first <= last))
    below = torch.nextafter(edge, torch.full_like(edge, -torch.inf))
    ids = torch.arange(weights.shape[-1], device=weights.device)
    bound = torch.where(ids <= last[:, None], below[:, None], edge[:, None])
    nucleus = torch.where(weights > bound, weights, 0.0)
    return torch.where(inside, first, draw(nucleus, spare))


def nucleus_edge(weights: Tensor, top_p: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest weight in each row's nucleus, and the last id of that weight in it.

    A token is in the nucleus if the mass ahead of it, of larger weights and of equal weights with
    lower ids, is below `top_p` of all. weights (rows, vocabulary) in fp32, from 0 to 1; top_p
    (rows,) below 1 → (rows,) in fp32, (rows,) of ids.

    Floats of at least 0 are in the order of their bits, so the largest float with a mass above it
    that reaches the target is searched 5 bits at a time. The next float is the edge.
    """
    runs = _Runs(weights)
    target = top_p.double() * runs.total
    bits = torch.zeros(len(weights), dtype=torch.int32, device=weights.device)
    steps = torch.arange(2**_BITS, dtype=torch.int32, device=weights.device)
    for shift in range(_WIDTH - _BITS, -1, -_BITS):
        tried = bits[:, None] + (steps << shift)
        reached = runs.above(tried.view(torch.float32)) >= target[:, None]
        # The first of those tried always reaches it, except in a row of NaN.
        bits += (reached.sum(-1, dtype=torch.int32) - 1).clamp_(min=0) << shift
    edge = (bits + 1).view(torch.float32)
    missing = target - runs.above(edge[:, None])[:, 0]
    count = (missing / edge.double()).ceil().clamp_(1, weights.shape[-1]).int()
    counts = (weights == edge[:, None]).cumsum(-1, dtype=torch.int32)
    return edge, torch.searchsorted(counts, count[:, None])[:, 0]


class _Runs:
    """Weights (rows, vocabulary) in sorted runs, to sum those above any threshold quickly."""

    def __init__(self, weights: Tensor):
        padded = torch.nn.functional.pad(weights, (0, -weights.shape[-1] % RUN))
        # searchsorted needs ascending values: of negative weights, the largest weight is first.
        self._negative = padded.neg().view(len(weights), -1, RUN).sort(-1).values
        sums = self._negative.neg().cumsum(-1, dtype=torch.float64)
        self._sums = torch.nn.functional.pad(sums, (1, 0))  # of no weight, the first, the first two
        self.total = self._sums[:, :, -1].sum(-1)

    def above(self, thresholds: Tensor) -> Tensor:
        """Sum of the weights above each threshold (rows, count) → (rows, count) in fp64."""
        runs = self._negative.shape[1]
        negative = thresholds.neg()[:, None].expand(-1, runs, -1).contiguous()
        return self._sums.gather(-1, torch.searchsorted(self._negative, negative)).sum(1)
