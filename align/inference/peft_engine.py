"""An engine on PEFT's own mixed batches: one forward a step for rows of different adapters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from align.base import Base
from align.errors import AdapterError
from align.inference.rows import Row, similar_lengths, trailing
from align.inference.runner import Runner
from align.inference.sampling import Sampler
from align.inference.types import Completion, GenerationRequest, OnText

Messages = Sequence[dict[str, str]]


class PeftEngine:
    """`Engine` over a shell of the base; see `align.inference.types` for the contract."""

    def __init__(self, base: Base):
        self._base = base
        self._tokenizer = base.tokenizer
        self._runner = Runner(base)
        self._end = _end_tokens(base)

    @property
    def loaded(self) -> set[str]:
        """Ids of the adapters that requests may name."""
        return set(self._runner.loaded)

    @property
    def context_length(self) -> int:
        """The base's own limit."""
        return int(self._base.model.config.max_position_embeddings)

    def load(self, adapter_id: str, folder: Path) -> None:
        """Make an adapter folder available. AdapterError if it does not fit the base."""
        if adapter_id not in self._runner.loaded:
            self._runner.load(adapter_id, folder)

    def unload(self, adapter_id: str) -> None:
        """Forget an adapter."""
        if adapter_id in self._runner.loaded:
            self._runner.unload(adapter_id)

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
        sampler, active = Sampler(requests, self._runner.device), list(range(len(rows)))
        with self._runner.using([request.adapter for request in requests]) as names:
            prompts = [request.prompt_ids for request in requests]
            logits, mask, cache = self._runner.prefill(prompts, names)
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
                logits = self._runner.forward(fresh, mask, cache, names)

    @torch.inference_mode()
    def log_probabilities(
        self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], adapter_id: str | None
    ) -> list[float]:
        """For each (prompt ids, completion ids): the completion's summed log-probability.

        A prompt that several completions share is read once.
        """
        self._require(adapter_id)
        result: list[float] = [0.0] * len(sequences)
        places: dict[tuple[int, ...], list[int]] = {}
        for at, (prompt, _) in enumerate(sequences):
            places.setdefault(tuple(prompt), []).append(at)
        prompts = list(places)
        with self._runner.using([adapter_id]):
            for order in similar_lengths([len(prompt) for prompt in prompts]):
                part = [prompts[at] for at in order]
                wanted = [(row, at) for row, one in enumerate(part) for at in places[one]]
                first, mask, cache = self._runner.prefill(part, None)
                index = torch.tensor([row for row, _ in wanted], device=mask.device)
                cache.batch_select_indices(index)
                rests = [sequences[at][1] for _, at in wanted]
                values = self._runner.continued(first[index], mask[index], cache, rests)
                for (_, at), value in zip(wanted, values, strict=True):
                    result[at] = value
        return result

    @torch.inference_mode()
    def score(self, conversations: Sequence[Messages], adapter_id: str) -> list[float]:
        """Reward scores. AdapterError if the adapter has no reward head.

        As transformers' sequence classification: the final hidden state of the rightmost token
        that is not the head's pad token, times the head.
        """
        self._require(adapter_id)
        if adapter_id not in self._runner.heads:
            raise AdapterError(f"adapter {adapter_id[:12]} has no reward head; it cannot score")
        head, pad = self._runner.heads[adapter_id]
        encoded = [self.tokenize_chat(messages, generate=False) for messages in conversations]
        scores = [0.0] * len(encoded)
        with self._runner.using([adapter_id]):
            for order in similar_lengths([len(one) for one in encoded]):
                hidden = self._runner.hidden([encoded[at] for at in order])
                last = [hidden.shape[1] - 1 - trailing(encoded[at], pad) for at in order]
                pooled = hidden[torch.arange(len(order)), torch.tensor(last, device=hidden.device)]
                values = (pooled @ head.T)[:, 0].float().tolist()
                for at, value in zip(order, values, strict=True):
                    scores[at] = value
        return scores

    def _require(self, adapter_id: str | None) -> None:
        if adapter_id is not None and adapter_id not in self._runner.loaded:
            raise AdapterError(f"adapter {adapter_id[:12]} is not loaded")

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


def _end_tokens(base: Base) -> set[int]:
    ends = base.model.generation_config.eos_token_id
    many = ends if isinstance(ends, list) else [ends]
    return {one for one in (*many, base.tokenizer.eos_token_id) if one is not None}
