"""A stage's parent, read once for all trials, and checked against base and rank limit."""

from __future__ import annotations

import re
from pathlib import Path

from align.adapters import MANIFEST, read_manifest
from align.adapters.folder import file_stamp
from align.adapters.tensors import LoraFactors, read_factors
from align.base import Base
from align.errors import AdapterError
from align.lru_cache import Remembered
from align.recipe import LoraConfig
from align.recipe.lora import MAX_RANK

#: Parents of the stages that a worker alternates between.
_FACTORS: Remembered[LoraFactors] = Remembered(2)


def read_parent(folder: Path | None, base: Base, lora: LoraConfig) -> LoraFactors | None:
    """The parent's factors, None without a parent.

    AdapterError if the parent was trained on another base, or if the published adapter's rank would
    exceed the bank's.
    """
    if folder is None:
        return None
    if (folder / MANIFEST).exists():
        _check_base(folder, base)
    factors = _FACTORS.of(file_stamp(folder), lambda: read_factors(folder))
    if (rank := _published_rank(factors, lora)) > MAX_RANK:
        raise AdapterError(
            f"{folder}: the chain of its parents has rank {factors.rank}; with this stage's "
            f"lora.r {lora.r} the published adapter would have {rank}, and the bank holds "
            f"{MAX_RANK} at most: lower r here or in the stages before, or start from fewer stages"
        )
    return factors


def _check_base(folder: Path, base: Base) -> None:
    manifest = read_manifest(folder)
    if manifest.base_digest != base.digest:
        raise AdapterError(
            f"{folder}: the parent was trained on '{manifest.base}' "
            f"({manifest.base_digest[:12]}), this stage's base is '{base.ref}' "
            f"({base.digest[:12]}): use that base, or a parent trained on this one"
        )


def _published_rank(parent: LoraFactors, lora: LoraConfig) -> int:
    """The largest rank of a module in the parent and the new adapter stacked."""
    new_rank = lora.r
    assert isinstance(new_rank, int)  # a resolved stage holds no space
    stacked_ranks = [
        a.shape[0] + new_rank for name, (a, _) in parent.modules.items() if _adapts(lora, name)
    ]
    return max([parent.rank, new_rank, *stacked_ranks])


def _adapts(lora: LoraConfig, module: str) -> bool:
    """PEFT's rule for `target_modules`: all, the whole name by a pattern, or its end by a list."""
    targets = lora.target_modules
    if targets == "all-linear":
        return True
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    return any(module == target or module.endswith(f".{target}") for target in targets)
