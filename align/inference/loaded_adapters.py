"""The adapters that an engine can serve, checked and prepared for the bank."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch

from align.adapters.manifest import MANIFEST, read_manifest
from align.adapters.tensors import LoraFactors, read_factors
from align.base import Base
from align.errors import AdapterError
from align.inference.modeling.bank import Bank, Prepared


@dataclass(frozen=True)
class RewardHead:
    """The output head of a reward model: hidden state times `weight` (1, hidden).

    As in transformers' sequence classification, the rightmost token that is not `pad` is scored.
    """

    weight: torch.Tensor
    pad: int | None

    def place(self, prompt: list[int] | tuple[int, ...]) -> int:
        """Position of the token whose hidden state is scored."""
        position = len(prompt) - 1
        while position > 0 and prompt[position] == self.pad:
            position -= 1
        return position


@dataclass(frozen=True)
class LoadedAdapter:
    """A loaded adapter. `key` is never reused, so data cached under it cannot be stale."""

    key: int
    id: str
    weights: Prepared
    head: RewardHead | None


class LoadedAdapters:
    """Adapters by id and by the scheduler's key. Removed adapters stay until they are dropped."""

    def __init__(self, base: Base, bank: Bank):
        self._base, self._bank = base, bank
        self._keys = count(1)
        self._by_id: dict[str, LoadedAdapter] = {}
        self._by_key: dict[int, LoadedAdapter] = {}
        self._kept: frozenset[str] = frozenset()

    @property
    def ids(self) -> set[str]:
        """Ids that requests may name."""
        return set(self._by_id)

    def add(self, adapter_id: str, adapter: Path | LoraFactors) -> None:
        """Check and prepare an adapter, unless its id is known. AdapterError if it does not fit."""
        if adapter_id in self._by_id:
            return
        source = str(adapter) if isinstance(adapter, Path) else adapter_id
        factors = read_factors(adapter) if isinstance(adapter, Path) else adapter
        weights = self._bank.prepare(factors, source)
        pad = _check_manifest(adapter, self._base) if isinstance(adapter, Path) else None
        loaded = LoadedAdapter(
            next(self._keys), adapter_id, weights, self._head(factors, source, pad)
        )
        self._by_id[adapter_id] = self._by_key[loaded.key] = loaded

    def _head(self, factors: LoraFactors, source: str, pad: int | None) -> RewardHead | None:
        if factors.score is None:
            return None
        width = int(self._base.model.config.hidden_size)
        if tuple(factors.score.shape) != (1, width):
            raise AdapterError(
                f"{source}: its reward head is {tuple(factors.score.shape)}, the base needs "
                f"(1, {width})"
            )
        head = factors.score.to(next(self._base.model.parameters()))
        if not torch.isfinite(head).all():
            raise AdapterError(f"{source}: its reward head holds values that are no numbers")
        return RewardHead(head, pad)

    def remove(self, adapter_id: str) -> int | None:
        """Remove the id and return its key, which is to be passed to `drop` once it is unused."""
        loaded = self._by_id.pop(adapter_id, None)
        return None if loaded is None else loaded.key

    def keep(self, adapter_ids: Collection[str]) -> None:
        """Set the adapters for which `is_kept` returns True."""
        self._kept = frozenset(adapter_ids)

    def is_kept(self, key: int) -> bool:
        """Whether the adapter with this key was named in the last call of `keep`."""
        loaded = self._by_key.get(key)
        return loaded is not None and loaded.id in self._kept

    def ids_of(self, keys: Iterable[int]) -> tuple[str, ...]:
        """Ids of the adapters with these keys; dropped adapters are omitted."""
        return tuple(self._by_key[key].id for key in keys if key in self._by_key)

    def drop(self, key: int) -> None:
        """Release the weights."""
        self._by_key.pop(key, None)

    def named(self, adapter_id: str) -> LoadedAdapter:
        """The adapter with this id. AdapterError if it is not loaded."""
        if adapter_id not in self._by_id:
            raise AdapterError(f"adapter {adapter_id[:12]} is not loaded")
        return self._by_id[adapter_id]

    def __getitem__(self, key: int) -> LoadedAdapter:
        return self._by_key[key]


def _check_manifest(folder: Path, base: Base) -> int | None:
    """The pad token of the reward head. AdapterError if the adapter was trained on another base."""
    if not (folder / MANIFEST).exists():
        return None
    manifest = read_manifest(folder)
    if manifest.base_digest != base.digest:
        raise AdapterError(
            f"{folder}: trained on base '{manifest.base}' with other weights than this '{base.ref}'"
        )
    if manifest.tokenizer_digest and manifest.tokenizer_digest != base.tokenizer_digest:
        raise AdapterError(
            f"{folder}: trained with another tokenizer or chat template than the one of base "
            f"'{base.ref}' here, so it would read other tokens than it learned"
        )
    return manifest.pad_token_id
