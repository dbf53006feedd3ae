"""The adapters that an engine can be asked for, checked and ready for the bank."""

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
    """A reward model's last step: hidden state times `weight` (1, hidden).

    As transformers' sequence classification: of the rightmost token that is not `pad`.
    """

    weight: torch.Tensor
    pad: int | None

    def place(self, prompt: list[int] | tuple[int, ...]) -> int:
        """Which token's hidden state is scored."""
        at = len(prompt) - 1
        while at > 0 and prompt[at] == self.pad:
            at -= 1
        return at


@dataclass(frozen=True)
class LoadedAdapter:
    """One adapter as loaded. `key` is never given again, so nothing kept under it is stale."""

    key: int
    id: str
    weights: Prepared
    head: RewardHead | None


class LoadedAdapters:
    """By id, and by the key that the scheduler knows; forgotten ones stay until their last use."""

    def __init__(self, base: Base, bank: Bank):
        self._base, self._bank = base, bank
        self._keys = count(1)
        self._by_id: dict[str, LoadedAdapter] = {}
        self._by_key: dict[int, LoadedAdapter] = {}
        self._kept: frozenset[str] = frozenset()

    @property
    def ids(self) -> set[str]:
        """What requests may name."""
        return set(self._by_id)

    def add(self, adapter_id: str, adapter: Path | LoraFactors) -> None:
        """Check and prepare; nothing if the id is known. AdapterError if it does not fit."""
        if adapter_id in self._by_id:
            return
        source = str(adapter) if isinstance(adapter, Path) else adapter_id
        factors = read_factors(adapter) if isinstance(adapter, Path) else adapter
        weights = self._bank.prepare(factors, source)
        pad = _check_manifest(adapter, self._base) if isinstance(adapter, Path) else None
        made = LoadedAdapter(
            next(self._keys), adapter_id, weights, self._head(factors, source, pad)
        )
        self._by_id[adapter_id] = self._by_key[made.key] = made

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
        """Take the id away; the key that was behind it. `drop` it once nothing uses it."""
        known = self._by_id.pop(adapter_id, None)
        return None if known is None else known.key

    def keep(self, adapter_ids: Collection[str]) -> None:
        """What `is_kept` is true of from now on."""
        self._kept = frozenset(adapter_ids)

    def is_kept(self, key: int) -> bool:
        """Whether the weights behind this key are kept."""
        known = self._by_key.get(key)
        return known is not None and known.id in self._kept

    def ids_of(self, keys: Iterable[int]) -> tuple[str, ...]:
        """The ids behind these keys, without those that were dropped."""
        return tuple(self._by_key[key].id for key in keys if key in self._by_key)

    def drop(self, key: int) -> None:
        """Let go of the weights."""
        self._by_key.pop(key, None)

    def named(self, adapter_id: str) -> LoadedAdapter:
        """AdapterError if it is not known."""
        if adapter_id not in self._by_id:
            raise AdapterError(f"adapter {adapter_id[:12]} is not loaded")
        return self._by_id[adapter_id]

    def __getitem__(self, key: int) -> LoadedAdapter:
        return self._by_key[key]


def _check_manifest(folder: Path, base: Base) -> int | None:
    """The pad token of its reward head. AdapterError if it was trained on another base."""
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
