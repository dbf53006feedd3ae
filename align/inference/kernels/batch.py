"""What one forward pass works on: which token belongs where. Shapes, and no arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LayerCache:
    """Keys and values of one layer: (slots, kv heads, tokens, head) each, never moved."""

    keys: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True)
class LoraPart:
    """One range of a linear layer's outputs with the factors of all bank slots for it.

    `a` is (slots, capacity, in), `b` (slots, capacity, out) with scaling in it, `ranks` (slots,)
    int32: 0 where an adapter leaves this range alone. Rows of `a` and `b` beyond a rank are zero.
    """

    a: torch.Tensor
    b: torch.Tensor
    ranks: torch.Tensor
    offset: int


@dataclass
class Batch:
    """The tokens of one forward pass, flat.

    Decoding: one token a row, `spans` empty. Reading prompts: `spans` has (first token, end, slot,
    first position) of each sequence, `groups` (first token, end, bank slot) of each run of tokens
    with one adapter; tokens without an adapter are in no group.

    `slots`, `positions`, `bank` are int32 (tokens,): KV slot, position, bank slot or -1.
    `longest` bounds positions + 1; `adapted` says whether any token has an adapter.
    """

    slots: torch.Tensor
    positions: torch.Tensor
    bank: torch.Tensor
    longest: int
    adapted: bool
    spans: tuple[tuple[int, int, int, int], ...] = ()
    groups: tuple[tuple[int, int, int], ...] = ()
