"""Inputs of a forward pass: the slot, position and adapter of each token. Data only."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class LayerCache:
    """Keys and values of a layer: (slots, kv heads, tokens, head) each.

    On a CPU the tensors never move. On a GPU they are replaced when the slots are lengthened.
    """

    keys: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True)
class LoraPart:
    """A range of a linear layer's outputs, and the LoRA factors of all bank slots for it.

    `a` is (slots, capacity, in), `b` is (slots, capacity, out) and includes the scaling, `ranks` is
    (slots,) int32: 0 if an adapter has no factors here. Rows of `a` and `b` beyond a rank are zero.
    """

    a: torch.Tensor
    b: torch.Tensor
    ranks: torch.Tensor
    offset: int


@dataclass
class Batch:
    """The tokens of a forward pass, flat.

    Decode: each row has a single token and `spans` is empty. Prefill: `spans` has (first token,
    end, slot, first position) of each sequence, `groups` has (first token, end, bank slot) of each
    run of tokens with the same adapter; tokens without an adapter are in no group.

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
