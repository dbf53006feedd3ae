"""Requests, results and the interface of an engine. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from align.chat_encoder import PLAIN_CHAT, ChatOptions
from align.inference.sampling_params import SamplingParams

if TYPE_CHECKING:
    from align.adapters.tensors import LoraFactors  # imports torch, which this module must not

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class GenerationRequest(SamplingParams):
    """A prompt, and how it is continued.

    `adapter` is the id of a loaded adapter, or None for the base alone. With `max_new_tokens` 0 the
    prompt is only read: for `prompt_logprobs`, the log-probability of every prompt token from that
    position on (at least 1), or for `score`, a reward adapter's score.
    """

    prompt_ids: Sequence[int]
    adapter: str | None = None
    max_new_tokens: int = 64
    prompt_logprobs: int | None = None
    score: bool = False


@dataclass(frozen=True)
class TokenLogprobs:
    """A token's log-probability (nats), and `top` (token, log-probability), likeliest first."""

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass
class Completion:
    """The generated tokens, without the end-of-turn token, and their text.

    `ended` is the token that ended the completion (end of turn or one of `stop_ids`). It is not in
    `token_ids` but in `logprobs`. `cached_tokens` of the prompt were reused from another request.
    """

    token_ids: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: FinishReason = "length"
    ended: int | None = None
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    prompt_logprobs: list[float] = field(default_factory=list)
    score: float | None = None
    cached_tokens: int = 0


@dataclass(frozen=True)
class Traffic:
    """The changes that a step made to the bank.

    `admitted` are the sequences that left the queue, each with whether its adapter was in the bank
    before this step. `loaded` and `evicted` are ids of adapters.
    """

    admitted: tuple[tuple[int, bool], ...] = ()
    loaded: tuple[str, ...] = ()
    evicted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Update:
    """A step's result for a sequence: `text` that became final; `done` is true once, at its end.

    Text is held back while it could still become a stop string or ends in an incomplete character.
    `completion` is the sequence's own object and grows with every step.
    """

    sequence: int
    text: str
    completion: Completion
    done: bool


#: Called in generation order with (completion index, new text). False cancels that completion.
OnText = Callable[[int, str], bool | None]

Messages = Sequence[Mapping[str, str]]


class Engine(Protocol):
    """Generation and scoring for many adapters on one base model. Not thread-safe."""

    @property
    def loaded(self) -> set[str]:
        """Ids of the adapters that requests may name."""
        ...

    @property
    def context_length(self) -> int:
        """Most tokens that a prompt and its completion may have together."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        ...

    @property
    def traffic(self) -> Traffic:
        """The changes that the last step made to the bank."""
        ...

    def load(self, adapter_id: str, adapter: Path | LoraFactors) -> None:
        """Load an adapter from a PEFT folder or from factors; no effect if its id is loaded.

        AdapterError if it does not fit the base; the engine is unchanged then.
        """
        ...

    def unload(self, adapter_id: str) -> None:
        """Remove an adapter. Requests already submitted for it are completed."""
        ...

    def keep(self, adapter_ids: Collection[str]) -> None:
        """Evict these adapters, loaded or not, last from the bank. Replaces the previous call."""
        ...

    def start_anew(self) -> None:
        """Drop retained prefixes; no effect while requests are in progress.

        Later results then depend only on their requests, to the last digit.
        """
        ...

    def tokenize_chat(
        self, messages: Messages, generate: bool = True, options: ChatOptions = PLAIN_CHAT
    ) -> list[int]:
        """Apply the base's chat template; `generate` opens the assistant's turn.

        RequestError if the template cannot use the options.
        """
        ...

    def submit(self, request: GenerationRequest, streamed: bool = True) -> list[int]:
        """Queue a request; return the ids of its `n` sequences, which are unique in this engine.

        With `streamed` False all text may be returned at the end, which is cheaper. RequestError or
        AdapterError if the request cannot be served; nothing is queued then.
        """
        ...

    def cancel(self, sequence: int) -> None:
        """End a sequence at the next step (`cancelled`); no effect if it has ended."""
        ...

    def step(self) -> list[Update]:
        """Admit sequences, prefill one chunk of prompts, decode one token of each prefilled row.

        Returns an update for each sequence with new results, which may be those of the step before:
        a card computes a step while the last is reported. If it raises, all sequences in progress
        are dropped without an update, and the engine remains usable.
        """
        ...

    def generate(
        self, requests: Sequence[GenerationRequest], on_text: OnText | None = None
    ) -> list[Completion]:
        """Run all requests. Completions are in request order, the `n` of each request together."""
        ...

    def score(self, conversations: Sequence[Messages], adapter_id: str) -> list[float]:
        """A reward adapter's score for each conversation. AdapterError if it has no reward head."""
        ...

    def log_probabilities(
        self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], adapter_id: str | None
    ) -> list[float]:
        """Summed log-probability of the completion for each (prompt ids, completion ids)."""
        ...
