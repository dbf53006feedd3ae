"""What goes into an engine and what comes out. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt and how to continue it.

    `adapter` is the id of a loaded adapter, or None for the untouched base. `temperature` 0 is
    greedy. `top_k` 0 and `top_p` 1 keep the whole vocabulary. `stop` ends the text before any
    of these strings. A `seed` makes this request's sampling repeatable whatever shares its batch.
    """

    prompt_ids: Sequence[int]
    adapter: str | None = None
    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass
class Completion:
    """What the model wrote: ids without the end-of-turn token, and their text."""

    token_ids: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: FinishReason = "length"


#: Called in generation order with (index of the request, new text). Text is held back while it
#: could still become a stop string or is half a character. Returning False cancels that request.
OnText = Callable[[int, str], bool | None]


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

    def load(self, adapter_id: str, folder: Path) -> None:
        """Make a published adapter folder available. AdapterError if it does not fit the base."""
        ...

    def unload(self, adapter_id: str) -> None:
        """Forget an adapter."""
        ...

    def tokenize_chat(self, messages: Sequence[dict[str, str]], generate: bool = True) -> list[int]:
        """The base's chat template applied; `generate` opens the assistant's turn."""
        ...

    def generate(
        self, requests: Sequence[GenerationRequest], on_text: OnText | None = None
    ) -> list[Completion]:
        """Complete all requests in one batch, adapters mixed. Completions in request order."""
        ...

    def score(
        self, conversations: Sequence[Sequence[dict[str, str]]], adapter_id: str
    ) -> list[float]:
        """A reward adapter's score for each conversation. AdapterError if it has no reward head."""
        ...
