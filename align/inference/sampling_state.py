"""What a sampler knows of a sequence: its request, its random streams and its token counts.

Decisions on the host alone: imports no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import cached_property
from random import Random
from typing import Literal, NamedTuple

from align.inference.types import GenerationRequest, TokenLogprobs

#: Below this temperature the division by it could overflow, so the likeliest token is taken.
COLDEST = 1e-5
#: The likeliest token has a share over 1e-9: a lower top_p would only lose precision.
LEAST_TOP_P = 1e-9

Kind = Literal["all", "nucleus", "few"]  # what a row draws from


class Picked(NamedTuple):
    """A row's next token, and its log-probabilities where the request wants them."""

    token: int
    logprobs: TokenLogprobs | None


class SamplingState:
    """The state of a sequence that needs more than its likeliest token."""

    def __init__(self, request: GenerationRequest, index: int):
        self.request = request
        self.samples = request.temperature >= COLDEST
        self.penalised = request.presence_penalty != 0 or request.frequency_penalty != 0
        self.repeats = request.repetition_penalty != 1
        self._stream = None if request.seed is None else (request.seed + index) % 2**64
        # Random uses the absolute value of an int, so -1 and 1 would give the same stream.
        self.random = Random(self._stream)
        self._counts: Counter[int] = Counter()

    @cached_property
    def spare_random(self) -> Random:
        """A second stream, which differs from the first stream of any sequence."""
        return Random(None if self._stream is None else self._stream + 2**64)

    @cached_property
    def seen(self) -> dict[int, None]:
        """The ids of the prompt and of what was counted since, for `repetition_penalty`.

        Made at the first step: prompts are long, and thousands of sequences may be queued.
        """
        return dict.fromkeys(self.request.prompt_ids)

    @property
    def needs_last(self) -> bool:
        """Whether the logits of the next token depend on which token was the last."""
        return self.penalised or self.repeats

    def kind(self, vocabulary: int) -> Kind:
        """The tokens that this sequence's are drawn from."""
        if 0 < self.request.top_k < vocabulary:
            return "few"
        return "nucleus" if self.request.top_p < 1 else "all"

    def early_ids(self, ends: Collection[int]) -> list[int]:
        """The ids, ascending, that may not be sampled before `min_new_tokens`."""
        if not self.request.min_new_tokens:
            return []
        return sorted({*self.request.stop_ids, *(() if self.request.ignore_eos else ends)})

    def offset_after(self, token: int) -> float:
        """Count a sampled token; return what is added to its logit from now on."""
        request = self.request
        self._counts[token] += 1
        penalty = request.presence_penalty + request.frequency_penalty * self._counts[token]
        return request.logit_bias.get(token, 0.0) - penalty


def is_plain(request: GenerationRequest) -> bool:
    """Whether the request is greedy on unmodified logits and needs no log-probabilities."""
    return (
        request.temperature < COLDEST
        and request.presence_penalty == 0
        and request.frequency_penalty == 0
        and request.repetition_penalty == 1
        and not request.logit_bias
        and request.min_new_tokens == 0
        and request.logprobs is None
    )


def by_kind(rows: Mapping[int, SamplingState], vocabulary: int) -> dict[Kind, list[int]]:
    """The indices of the rows that sample, in the order of `rows`, by what they draw from."""
    kinds: dict[Kind, list[int]] = {}
    for i, row in rows.items():
        if row.samples:
            kinds.setdefault(row.kind(vocabulary), []).append(i)
    return kinds
