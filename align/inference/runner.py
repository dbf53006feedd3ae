"""The model side of the engine: a shell of the base, its adapters, and forward passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from transformers import DynamicCache

from align.adapter.folder import read_config
from align.adapter.manifest import MANIFEST, read_manifest
from align.adapter.tensors import PREFIX, LoraFactors, read_factors, scaling
from align.base import Base
from align.errors import AdapterError
from align.inference.rows import shared_prefix

BASE = "__base__"  # PEFT's own name for "no adapter" in a mixed batch
_LORA_FIELDS = (
    "r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "use_rslora",
)  # fmt: skip


class Runner:
    """Computes; decides nothing. `heads` has (weight (1, hidden), pad id) by adapter id."""

    def __init__(self, base: Base):
        self._base = base
        self._model: Any = base.shell()
        self._pad = base.tokenizer.pad_token_id
        self.device = base.model.device
        self.loaded: set[str] = set()
        self.heads: dict[str, tuple[torch.Tensor, int | None]] = {}
        # As an index, not as the number 1: a slice is not contiguous, and a linear layer on it
        # becomes a batched product that copies the whole vocabulary matrix for every row.
        self._last = torch.tensor([-1], device=self.device)

    def load(self, adapter_id: str, folder: Path) -> None:
        """Make an adapter folder available. AdapterError if it does not fit the base."""
        factors = read_factors(folder)
        self._check(folder, factors)
        config = read_config(folder)
        lora = LoraConfig(
            task_type="CAUSAL_LM",
            inference_mode=True,
            **{key: config[key] for key in _LORA_FIELDS if config.get(key) is not None},
        )
        if isinstance(self._model, PeftModel):
            self._model.add_adapter(adapter_id, lora, autocast_adapter_dtype=False)
        else:
            self._model = PeftModel(self._model, lora, adapter_id, autocast_adapter_dtype=False)
        self._model.eval()
        set_peft_model_state_dict(self._model, _unscaled(factors, config), adapter_id)
        if factors.score is not None:
            pad = read_manifest(folder).pad_token_id if (folder / MANIFEST).exists() else None
            weight = next(self._base.model.parameters())
            self.heads[adapter_id] = (factors.score.to(weight), pad)
        self.loaded.add(adapter_id)

    def _check(self, folder: Path, factors: LoraFactors) -> None:
        modules = dict(self._base.model.named_modules())
        for name, (a, b) in factors.modules.items():
            weight = getattr(modules.get(name), "weight", None)
            if weight is None or tuple(weight.shape) != (b.shape[0], a.shape[1]):
                raise AdapterError(f"{folder}: '{name}' does not fit base '{self._base.ref}'")
        if (folder / MANIFEST).exists():
            manifest = read_manifest(folder)
            if manifest.base_digest != self._base.digest:
                raise AdapterError(
                    f"{folder}: trained on base '{manifest.base}' with other weights than "
                    f"this '{self._base.ref}'"
                )

    def unload(self, adapter_id: str) -> None:
        """Forget an adapter."""
        self.loaded.discard(adapter_id)
        self.heads.pop(adapter_id, None)
        if self.loaded:
            self._model.delete_adapter(adapter_id)
        else:  # PEFT keeps at least one adapter: start over from the untouched base
            self._model = self._base.shell()

    @contextmanager
    def using(self, wanted: Sequence[str | None]) -> Iterator[list[str] | None]:
        """Switch to the one adapter of a uniform batch, or yield PEFT's names for a mixed one."""
        if not isinstance(self._model, PeftModel):
            yield None
        elif len(set(wanted)) > 1:
            yield [name or BASE for name in wanted]
        elif wanted[0] is None:
            with self._model.disable_adapter():
                yield None
        else:
            self._model.set_adapter(wanted[0], inference_mode=True)
            yield None

    def prefill(
        self, prompts: Sequence[Sequence[int]], names: list[str] | None
    ) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """Last logits (rows, vocabulary), mask (rows, width) and cache of all prompts.

        What the prompts of a uniform batch begin with is computed once.
        """
        mask, cache, ids = self._shared(prompts, names)
        return self.forward(ids, mask, cache, names), mask, cache

    def hidden(self, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
        """Final hidden states (rows, width, hidden) after the norm, ends aligned at the right."""
        mask, cache, ids = self._shared(sequences, None)
        causal = self._model.get_base_model() if isinstance(self._model, PeftModel) else self._model
        states: torch.Tensor = causal.base_model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=_positions(mask, ids.shape[1]),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return states

    def _shared(
        self, prompts: Sequence[Sequence[int]], names: list[str] | None
    ) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Mask, a cache that holds the shared beginning, and the ids that are left (padded)."""
        cache = DynamicCache()
        shared = shared_prefix(prompts) if names is None and len(prompts) > 1 else 0
        ids, mask = self._padded([prompt[shared:] for prompt in prompts])
        if shared:
            prefix = torch.tensor([prompts[0][:shared]], device=self.device)
            self.forward(prefix, torch.ones_like(prefix), cache, names)
            cache.batch_repeat_interleave(len(prompts))
            mask = torch.cat([mask.new_ones(len(prompts), shared), mask], dim=1)
        return mask, cache, ids

    def forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        cache: Any,
        names: list[str] | None,
    ) -> torch.Tensor:
        """Last-position logits (rows, vocabulary) for new `ids` (rows, new)."""
        return self._logits(ids, mask, cache, names, self._last)[:, -1]

    def continued(
        self,
        first: torch.Tensor,
        mask: torch.Tensor,
        cache: Any,
        completions: Sequence[Sequence[int]],
    ) -> list[float]:
        """Summed log-probability of each row's completion after a prefill; `first` its logits."""
        width = max(len(one) for one in completions)
        ids = torch.tensor(
            [[*one, *[self._pad] * (width - len(one))] for one in completions], device=self.device
        )
        real = torch.tensor(
            [[1] * len(one) + [0] * (width - len(one)) for one in completions], device=self.device
        )
        logs = _log_probability(first[:, None], ids[:, :1])
        if width > 1:
            grown = torch.cat([mask, real[:, :-1]], dim=1)
            everything = torch.arange(width - 1, device=self.device)
            rest = self._logits(ids[:, :-1], grown, cache, None, everything)
            logs = torch.cat([logs, _log_probability(rest, ids[:, 1:])], dim=1)
        return [float(value) for value in (logs * real).sum(-1)]

    def _logits(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        cache: Any,
        names: list[str] | None,
        keep: torch.Tensor,
    ) -> torch.Tensor:
        logits: torch.Tensor = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=_positions(mask, ids.shape[1]),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
            **({"adapter_names": names} if names else {}),
        ).logits
        return logits

    def _padded(self, sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Left-padded ids and mask, both (rows, longest)."""
        width = max(len(one) for one in sequences)
        ids = [[self._pad] * (width - len(one)) + list(one) for one in sequences]
        mask = [[0] * (width - len(one)) + [1] * len(one) for one in sequences]
        return torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)


def _positions(mask: torch.Tensor, new: int) -> torch.Tensor:
    """Positions (rows, new) of the newest tokens, padding not counted."""
    return (mask.cumsum(-1) - 1).clamp(min=0)[:, -new:]


def _log_probability(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Of `ids` (rows, new) under `logits` (rows, new, vocabulary), in fp32."""
    wide = logits.float()
    return wide.gather(-1, ids[..., None])[..., 0] - wide.logsumexp(-1)


def _unscaled(factors: LoraFactors, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """PEFT's state dict; the scaling that `factors` holds in B is PEFT's again."""
    state = {}
    for name, (a, b) in factors.modules.items():
        state[f"{PREFIX}{name}.lora_A.weight"] = a
        state[f"{PREFIX}{name}.lora_B.weight"] = b / scaling(config, name)
    return state
