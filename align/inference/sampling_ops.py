"""Selects a token of each row: the likeliest, a draw from all, or from the likeliest few."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

#: Tokens of a block: draws and rankings first select blocks, then tokens in them.
BLOCK = 32


def likeliest(logits: Tensor) -> Tensor:
    """Index of the first largest value in each row. logits (rows, vocabulary) → (rows,)."""
    if logits.device.type == "cpu":  # torch takes 2.9 ms for 32 x 49,152 in bf16, this 0.2
        return torch.from_numpy(logits.float().numpy().argmax(-1))
    return logits.argmax(-1)


def ranked(values: Tensor, count: int) -> Tensor:
    """Ids of the `count` largest values of each row, largest first, ties by id.

    values (rows, vocabulary) in fp32 → (rows, min(count, vocabulary)).
    """
    rows, vocabulary = values.shape
    count = min(count, vocabulary)
    if count * BLOCK >= vocabulary:
        return _keys(values).topk(count).indices if count else values.new_zeros((rows, 0)).long()
    blocks = _blocks(values, -torch.inf)
    # A token among the first `count` is in a block whose maximum is among the first `count`.
    top_blocks = _keys(blocks.amax(-1)).topk(count).indices.sort().values
    offsets = torch.arange(BLOCK, device=values.device)
    ids = (top_blocks[:, :, None] * BLOCK + offsets).flatten(1)
    candidates = blocks.gather(1, top_blocks[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    return ids.gather(-1, _keys(candidates).topk(count).indices)


def repeated(logits: Tensor, penalty: Tensor) -> Tensor:
    """The logits of tokens that occurred before, made less likely by a `penalty` above 1.

    As in CTRL (Keskar et al., arXiv 1909.05858): positive logits are divided by the penalty,
    negative are multiplied. logits (tokens,), penalty broadcastable to them → (tokens,).
    """
    return torch.where(logits < 0, logits * penalty, logits / penalty)


def drop_unlikely(weights: Tensor, min_p: Tensor) -> None:
    """Set weights below the share `min_p` of their row's largest weight to 0, in place.

    weights (rows, vocabulary) of at least 0, min_p (rows,).
    """
    least = weights.amax(-1) * min_p
    weights.mul_(weights >= least[:, None])


def draw(weights: Tensor, shares: Tensor) -> Tensor:
    """Draw a token of each row with probability proportional to its weight, which is at least 0.

    weights (rows, vocabulary) in fp32, `shares` (rows,) in fp64, uniform in [0, 1) → (rows,).
    """
    blocks = _blocks(weights, 0.0)
    block, fraction = _invert(blocks.sum(-1), shares)
    block_weights = blocks.gather(1, block[:, None, None].expand(-1, 1, BLOCK))[:, 0]
    token, _ = _invert(block_weights, fraction)
    return (block * BLOCK + token).clamp_(max=weights.shape[-1] - 1)


def draw_nucleus(
    weights: Tensor, top_p: Tensor, randoms: Sequence[Random], scratch: Tensor
) -> Tensor:
    """As `draw`, among the smallest set of likeliest tokens whose mass reaches `top_p` (rows,).

    The set is the nucleus of Holtzman et al. (arXiv 1904.09751). It always has the likeliest token;
    ties are ordered by id. Nothing is sorted: a token is drawn from all and rejected if the tokens
    ahead of it have the mass already; the next draw is from these (rejection sampling as in
    FlashInfer). Which rows need another draw is read back from the device, which suits a CPU;
    `nucleus.draw_nucleus_at_once` is for a card. `scratch`, shaped as `weights`, is overwritten.
    """
    tokens = torch.zeros(len(weights), dtype=torch.long, device=weights.device)
    pending = torch.arange(len(weights), device=weights.device)
    target = top_p * weights.sum(-1)
    while len(pending):
        streams = [randoms[row] for row in pending.tolist()]
        drawn = draw(weights, uniforms(streams, weights.device))
        tokens[pending] = drawn
        ahead = _ahead(weights, drawn, scratch[: len(pending)])
        rejected = (ahead.sum(-1) >= target).nonzero()[:, 0]
        weights, pending, target = ahead[rejected], pending[rejected], target[rejected]
    return tokens


def draw_few(weights: Tensor, most: int, top_k: Tensor, top_p: Tensor, shares: Tensor) -> Tensor:
    """Draw a token of each row from the nucleus of its `top_k` likeliest tokens.

    weights (rows, vocabulary) in fp32, top_k (rows,) at most `most`, top_p (rows,), `shares` as in
    `draw` → (rows,).
    """
    ids = ranked(weights, most)
    top_weights = weights.gather(-1, ids).double()
    top_weights *= torch.arange(ids.shape[-1], device=weights.device) < top_k[:, None]
    mass = top_weights.cumsum(-1)
    top_weights *= mass - top_weights < (top_p * mass[:, -1])[:, None]
    index, _ = _invert(top_weights, shares)
    return ids.gather(-1, index[:, None])[:, 0]


def _ahead(weights: Tensor, tokens: Tensor, out: Tensor) -> Tensor:
    """Write to `out` the weights of the tokens ranked before each row's token, 0 elsewhere."""
    own = weights.gather(-1, tokens[:, None])
    below = torch.nextafter(own, torch.full_like(own, -torch.inf))
    ids = torch.arange(weights.shape[-1], dtype=torch.float32, device=weights.device)
    # A bound for each id avoids a bool mask, which is slow on CPUs.
    bound = torch.lt(ids, tokens[:, None].float(), out=out)
    bound.mul_(below - own).add_(own)
    return torch.gt(weights, bound, out=bound).mul_(weights)


def uniforms(randoms: Sequence[Random], device: torch.device) -> Tensor:
    """The next number of each stream: (rows,) in fp64."""
    return torch.tensor([random.random() for random in randoms], dtype=torch.float64).to(device)


def _invert(weights: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Index at which each row's running sum exceeds its uniform share, and the fraction beyond it.

    weights (rows, n), uniforms (rows,) → (rows,) in [0, n), (rows,) in [0, 1) in fp64.
    """
    sums = weights.double().cumsum(-1)
    target = uniforms * sums[:, -1]
    index = torch.searchsorted(sums, target[:, None], right=True).clamp_(max=sums.shape[-1] - 1)
    size = weights.gather(-1, index)[:, 0].double()
    before = sums.gather(-1, index)[:, 0] - size
    return index[:, 0], ((target - before) / size).clamp_(0.0, 1 - 2**-53)


def _blocks(values: Tensor, filler: float) -> Tensor:
    """(rows, vocabulary) → (rows, blocks, BLOCK); the last block is padded with `filler`."""
    missing = -values.shape[-1] % BLOCK
    if missing:
        values = torch.nn.functional.pad(values, (0, missing), value=filler)
    return values.view(len(values), -1, BLOCK)


def _keys(values: Tensor) -> Tensor:
    """Distinct integers in the order of fp32 values (rows, n); among ties the first is largest.

    topk does not define the order of equal values, and in bf16 many logits are equal.
    """
    bits = (values + 0.0).view(torch.int32).long()  # no -0.0, whose bits differ from 0.0's
    ordered = bits ^ ((bits >> 63) & 0x7FFFFFFF)
    return (ordered << 32) - torch.arange(values.shape[-1], device=values.device)
