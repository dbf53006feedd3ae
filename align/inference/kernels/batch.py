"""Inputs of a forward pass: the slot, position and adapter of each token. Data only."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

T = TypeVar("T")


@dataclass
class LayerCache:
    """Keys and values of a layer: (slots, kv heads, tokens, head) each.

    On a CPU the tensors never move. On a GPU they are replaced when the slots are lengthened.
    """

    keys: torch.Tensor
    values: torch.Tensor


@dataclass
class Batch:
    """The tokens of a forward pass, flat.

    Decode: each row has a single token and `spans` is empty. Prefill: `spans` has (first token,
    end, slot, first position) of each sequence, `groups` has (first token, end, bank slot) of each
    run of tokens with the same adapter; tokens without an adapter are in no group.

    `slots`, `positions`, `bank` are int32 (tokens,): KV slot, position, bank slot or -1.
    `longest` bounds positions + 1; `adapted` says whether any token has an adapter.
    `few_launches` is the preference of `Ops` for fewer operations over less arithmetic.
    """

    slots: torch.Tensor
    positions: torch.Tensor
    bank: torch.Tensor
    longest: int
    adapted: bool
    spans: tuple[tuple[int, int, int, int], ...] = ()
    groups: tuple[tuple[int, int, int], ...] = ()
    few_launches: bool = False
    _derived: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result of `make`, called once for each key: what all layers of a pass share.

        `dataclasses.replace` gives the same tokens with nothing derived yet.
        """
        if key not in self._derived:
            self._derived[key] = make()
        result: T = self._derived[key]
        return result

    @property
    def slot_index(self) -> torch.Tensor:
        """`slots` as an index (tokens,) int64."""
        return self.once("slots", self.slots.long)

    @property
    def position_index(self) -> torch.Tensor:
        """`positions` as an index (tokens,) int64."""
        return self.once("positions", self.positions.long)
