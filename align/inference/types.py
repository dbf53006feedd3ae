"""What goes into an engine and what comes out. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from align.adapters.tensors import LoraFactors  # imports torch, which this module must not

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt and how to continue it.

    `adapter` is the id of a loaded adapter, or None for the untouched base. `n` completions are
    wanted; completion i samples with `seed + i`. `temperature` 0 is greedy. `top_k` 0 and `top_p` 1
    keep the whole vocabulary. Penalties and `logit_bias` (token id → added to its logit) are
    OpenAI's: presence and frequency count generated tokens alone. `stop` ends the text before any
    of these strings, `stop_ids` after any of these tokens (left out like the end of turn); neither
    these nor the end of turn can come before `min_new_tokens`, and `ignore_eos` takes the end of
    turn as any other token. `logprobs` asks for each token's log-probability and that of as many
    likeliest ones (0: the token's alone), under the model's own distribution: before temperature,
    penalties and bias. A `seed` makes sampling repeatable whatever shares the batch.

    With `max_new_tokens` 0 the prompt is only read: for `prompt_logprobs`, the log-probability of
    every prompt token from that position on (at least 1), or for `score`, a reward adapter's.
    """

    prompt_ids: Sequence[int]
    adapter: str | None = None
    max_new_tokens: int = 64
    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    min_new_tokens: int = 0
    ignore_eos: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    score: bool = False


@dataclass(frozen=True)
class TokenLogprobs:
    """A token's log-probability (nats), and the likeliest tokens with theirs, best first."""

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass
class Completion:
    """What the model wrote: ids without the end-of-turn token, and their text.

    `ended` is the token that ended it (end of turn or one of `stop_ids`), left out of `token_ids`
    but counted in `logprobs`. `cached_tokens` of the prompt were taken from another request.
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
    """What one step did with the bank.

    `admitted` are the sequences that left the queue, each with whether its adapter had its place in
    the bank before this step. `loaded` and `evicted` are ids of adapters.
    """

    admitted: tuple[tuple[int, bool], ...] = ()
    loaded: tuple[str, ...] = ()
    evicted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Update:
    """What one step added to a sequence: `text` that became final; `done` comes once, at its end.

    Text is held back while it could still become a stop string or is half a character.
    `completion` is the sequence's own and grows with every step.
    """

    sequence: int
    text: str
    completion: Completion
    done: bool


#: Called in generation order with (index of the completion, new text). Returning False cancels it.
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
        """What the last step did with the bank."""
        ...

    def load(self, adapter_id: str, adapter: Path | LoraFactors) -> None:
        """Make an adapter known: a PEFT folder, or factors in memory; nothing if it is already.

        AdapterError if it does not fit the base, before anything is touched.
        """
        ...

    def unload(self, adapter_id: str) -> None:
        """Forget an adapter. Requests that have it already are served to their end."""
        ...

    def keep(self, adapter_ids: Collection[str]) -> None:
        """These, loaded or not, are the last to lose their places in the bank; no longer those
        that were named before."""
        ...

    def start_anew(self) -> None:
        """Forget what was read before, unless requests are under way: results then depend on what
        is asked alone, to the last digit."""
        ...

    def tokenize_chat(self, messages: Messages, generate: bool = True) -> list[int]:
        """The base's chat template applied; `generate` opens the assistant's turn."""
        ...

    def submit(self, request: GenerationRequest, streamed: bool = True) -> list[int]:
        """Queue a request; the ids of its `n` sequences, unique in this engine's life.

        Not `streamed`: text may all come at the end, which is cheaper. RequestError or AdapterError
        if it cannot be served; nothing is queued then.
        """
        ...

    def cancel(self, sequence: int) -> None:
        """End a sequence at the next step (`cancelled`); nothing if it is over."""
        ...

    def step(self) -> list[Update]:
        """Admit, read one chunk of prompts, write one token of every row that is past its prompt.

        One update for each sequence that has something new. If it raises, everything that was under
        way is dropped without an update, and the engine goes on as new.
        """
        ...

    def generate(
        self, requests: Sequence[GenerationRequest], on_text: OnText | None = None
    ) -> list[Completion]:
        """Submit all and step to their end. Completions in request order, `n` of each together."""
        ...

    def score(self, conversations: Sequence[Messages], adapter_id: str) -> list[float]:
        """A reward adapter's score for each conversation. AdapterError if it has no reward head."""
        ...

    def log_probabilities(
        self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], adapter_id: str | None
    ) -> list[float]:
        """For each (prompt ids, completion ids): the completion's summed log-probability."""
        ...
