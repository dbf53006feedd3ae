"""An engine on PEFT's own mixed batches: one forward a step for rows of different adapters."""

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
from align.inference.rows import Row, shared_prefix, similar_lengths, trailing
from align.inference.sampling import Sampler
from align.inference.types import Completion, GenerationRequest, OnText

Messages = Sequence[dict[str, str]]
BASE = "__base__"  # PEFT's own name for "no adapter" in a mixed batch


class PeftEngine:
    """`Engine` over a shell of the base; see `align.inference.types` for the contract."""

    def __init__(self, base: Base):
        self._base = base
        self._tokenizer = base.tokenizer
        self._model: Any = base.shell()
        self._heads: dict[str, tuple[torch.Tensor, int | None]] = {}
        self._loaded: set[str] = set()
        self._end = _end_tokens(base)
        # As an index, not as the number 1: a slice is not contiguous, and a linear layer on it
        # becomes a batched product that copies the whole vocabulary matrix for every row.
        self._last = torch.tensor([-1], device=base.model.device)

    @property
    def loaded(self) -> set[str]:
        """Ids of the adapters that requests may name."""
        return set(self._loaded)

    @property
    def context_length(self) -> int:
        """The base's own limit."""
        return int(self._base.model.config.max_position_embeddings)

    def load(self, adapter_id: str, folder: Path) -> None:
        """Make an adapter folder available. AdapterError if it does not fit the base."""
        if adapter_id in self._loaded:
            return
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
            self._heads[adapter_id] = (factors.score.to(weight), pad)
        self._loaded.add(adapter_id)

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
        if adapter_id not in self._loaded:
            return
        self._loaded.discard(adapter_id)
        self._heads.pop(adapter_id, None)
        if self._loaded:
            self._model.delete_adapter(adapter_id)
        else:  # PEFT keeps at least one adapter: start over from the untouched base
            self._model = self._base.shell()

    def tokenize_chat(self, messages: Messages, generate: bool = True) -> list[int]:
        """The base's chat template applied; `generate` opens the assistant's turn."""
        ids = self._tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=generate, return_dict=False
        )
        return list(ids)

    @torch.inference_mode()
    def generate(
        self, requests: Sequence[GenerationRequest], on_text: OnText | None = None
    ) -> list[Completion]:
        """Complete all requests in one batch. Completions in request order."""
        for request in requests:
            self._require(request.adapter)
        if not requests:
            return []
        rows = [Row(request, self._decode) for request in requests]
        sampler = Sampler(requests, self._base.model.device)
        active = list(range(len(rows)))
        with self._adapters([request.adapter for request in requests]) as names:
            logits, mask, cache = self._prefill(requests, names)
            while True:
                tokens = sampler.pick(logits, active)
                keep = [
                    place
                    for place, (row, token) in enumerate(zip(active, tokens, strict=True))
                    if not rows[row].take(row, token, self._end, on_text)
                ]
                if not keep:
                    return [row.completion for row in rows]
                if len(keep) < len(active):
                    index = torch.tensor(keep, device=mask.device)
                    cache.batch_select_indices(index)
                    mask, active = mask[index], [active[place] for place in keep]
                    names = [names[place] for place in keep] if names else names
                fresh = torch.tensor([[tokens[place]] for place in keep], device=mask.device)
                mask = torch.cat([mask, mask.new_ones(len(keep), 1)], dim=1)
                logits = self._forward(fresh, mask, cache, names)

    def _prefill(
        self, requests: Sequence[GenerationRequest], names: list[str] | None
    ) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """Last logits, mask and cache of all prompts; what they all begin with is computed once."""
        prompts, cache = [request.prompt_ids for request in requests], DynamicCache()
        shared = shared_prefix(prompts) if names is None and len(prompts) > 1 else 0
        ids, mask = self._padded([prompt[shared:] for prompt in prompts])
        if shared:
            prefix = torch.tensor([prompts[0][:shared]], device=ids.device)
            self._forward(prefix, torch.ones_like(prefix), cache, names)
            cache.batch_repeat_interleave(len(prompts))
            mask = torch.cat([mask.new_ones(len(prompts), shared), mask], dim=1)
        return self._forward(ids, mask, cache, names), mask, cache

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, cache: Any, names: list[str] | None
    ) -> torch.Tensor:
        """Last-position logits (rows, vocabulary) for new `ids` (rows, new)."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        extra = {"adapter_names": names} if names else {}
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=self._last,
            **extra,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    @torch.inference_mode()
    def log_probabilities(
        self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], adapter_id: str | None
    ) -> list[float]:
        """For each (prompt ids, completion ids): the completion's summed log-probability."""
        self._require(adapter_id)
        result = [0.0] * len(sequences)
        for order in similar_lengths([len(prompt) + len(rest) for prompt, rest in sequences]):
            part = [sequences[at] for at in order]
            ids, mask = self._padded([[*prompt, *rest] for prompt, rest in part])
            longest = max(len(rest) for _, rest in part)
            with self._adapters([adapter_id]):
                logits = self._model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                    logits_to_keep=longest + 1,
                ).logits[:, :-1]
            picked = logits.float().log_softmax(-1).gather(-1, ids[:, -longest:, None])[..., 0]
            for row, (at, (_, rest)) in enumerate(zip(order, part, strict=True)):
                result[at] = float(picked[row, longest - len(rest) :].sum())
        return result

    @torch.inference_mode()
    def score(self, conversations: Sequence[Messages], adapter_id: str) -> list[float]:
        """Reward scores. AdapterError if the adapter has no reward head.

        As transformers' sequence classification: the final hidden state of the rightmost token
        that is not the head's pad token, times the head.
        """
        self._require(adapter_id)
        if adapter_id not in self._heads:
            raise AdapterError(f"adapter {adapter_id[:12]} has no reward head; it cannot score")
        head, pad = self._heads[adapter_id]
        encoded = [self.tokenize_chat(messages, generate=False) for messages in conversations]
        scores = [0.0] * len(encoded)
        for order in similar_lengths([len(one) for one in encoded]):
            part = [encoded[at] for at in order]
            ids, mask = self._padded(part)
            with self._adapters([adapter_id]):
                hidden = self._base_model()(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                ).last_hidden_state
            width = ids.shape[1]
            last = [width - 1 - trailing(row, pad) for row in part]
            pooled = hidden[torch.arange(len(part)), torch.tensor(last, device=hidden.device)]
            for at, value in zip(order, (pooled @ head.T)[:, 0].float().tolist(), strict=True):
                scores[at] = value
        return scores

    def _base_model(self) -> Any:
        causal = self._model.get_base_model() if isinstance(self._model, PeftModel) else self._model
        return causal.base_model

    def _require(self, adapter_id: str | None) -> None:
        if adapter_id is not None and adapter_id not in self._loaded:
            raise AdapterError(f"adapter {adapter_id[:12]} is not loaded")

    @contextmanager
    def _adapters(self, wanted: Sequence[str | None]) -> Iterator[list[str] | None]:
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

    def _padded(self, sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Left-padded ids and mask, both (rows, longest)."""
        width, pad = max(len(one) for one in sequences), self._tokenizer.pad_token_id
        ids = [[pad] * (width - len(one)) + list(one) for one in sequences]
        mask = [[0] * (width - len(one)) + [1] * len(one) for one in sequences]
        device = self._base.model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


_LORA_FIELDS = (
    "r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "use_rslora",
)  # fmt: skip


def _end_tokens(base: Base) -> set[int]:
    ends = base.model.generation_config.eos_token_id
    many = ends if isinstance(ends, list) else [ends]
    return {one for one in (*many, base.tokenizer.eos_token_id) if one is not None}


def _unscaled(factors: LoraFactors, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """PEFT's state dict; the scaling that `factors` holds in B is PEFT's again."""
    state = {}
    for name, (a, b) in factors.modules.items():
        state[f"{PREFIX}{name}.lora_A.weight"] = a
        state[f"{PREFIX}{name}.lora_B.weight"] = b / scaling(config, name)
    return state
