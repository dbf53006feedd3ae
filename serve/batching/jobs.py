"""What travels between the ingress and an engine replica. Imports neither torch nor Ray."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from align.inference.types import FinishReason

#: A chat with roles, for the base's template, or plain text.
Chat = tuple[dict[str, str], ...]
Prompt = Chat | str


@dataclass(frozen=True)
class AdapterRef:
    """One registered adapter; `name` is its `line:number`, which never changes its meaning."""

    adapter_id: str
    name: str


@dataclass(frozen=True)
class GenerateJob:
    """One request: `n` completions of each prompt. `adapter` None is the base.

    `max_tokens` None: as many as the replica allows by default. Penalties, `logit_bias`,
    `stop_ids`, `ignore_eos` and `logprobs` are those of `align.inference.GenerationRequest`.
    `streamed` asks for text as it is written; without it only finished rows come back.
    """

    prompts: tuple[Prompt, ...]
    adapter: AdapterRef | None = None
    n: int = 1
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    min_tokens: int = 0
    ignore_eos: bool = False
    logprobs: int | None = None
    streamed: bool = False

    @property
    def rows(self) -> int:
        """How many completions are wanted in all; row i continues prompt i // n."""
        return len(self.prompts) * self.n


@dataclass(frozen=True)
class ScoreJob:
    """Conversations for a reward adapter."""

    conversations: tuple[Chat, ...]
    adapter: AdapterRef

    @property
    def rows(self) -> int:
        """One for each conversation."""
        return len(self.conversations)


Job = GenerateJob | ScoreJob


@dataclass(frozen=True)
class Tokens:
    """What a prompt is to the model, and how many tokens fit with what is written behind them."""

    ids: tuple[int, ...]
    context: int


@dataclass(frozen=True)
class TokenLogprob:
    """A token of an answer: its UTF-8 bytes (maybe part of a character), its log-probability.

    `offset` is where it begins in its row's text, in characters. `top` has the likeliest tokens
    in its place, best first.
    """

    raw: bytes
    logprob: float
    offset: int
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True)
class Accepted:
    """The prompts are tokenised and fit; comes before anything else."""

    prompt_tokens: int


@dataclass(frozen=True)
class Text:
    """New text of a row of a streamed job, and of how many tokens it is.

    `logprobs` is None where the job asks for none.
    """

    row: int
    text: str
    logprobs: tuple[TokenLogprob, ...] | None = None
    tokens: int = 1


@dataclass(frozen=True)
class Done:
    """A row's end with all of its text."""

    row: int
    text: str
    tokens: int
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True)
class Scored:
    """A conversation's score, which is the row's end."""

    row: int
    score: float


@dataclass(frozen=True)
class Refused:
    """A job that is not done, as an HTTP status and a message; nothing comes after it."""

    status: int
    message: str
    code: str
    param: str | None = None


Event = Accepted | Text | Done | Scored | Refused


@dataclass(frozen=True)
class Outcome:
    """A finished job: one `Done` for each row, in the order of rows."""

    prompt_tokens: int
    rows: tuple[Done, ...]


@dataclass(frozen=True)
class Scores:
    """A finished score job: one for each conversation, in their order."""

    prompt_tokens: int
    values: tuple[float, ...]


class EngineClient(Protocol):
    """An engine as the ingress sees it: a `Worker` in the process, or one behind Ray."""

    async def complete(self, job: GenerateJob) -> Outcome | Refused:
        """Do the job and return everything at its end."""
        ...

    def stream(self, job: GenerateJob) -> AsyncGenerator[list[Event], None]:
        """Do the job and yield what is new since the last time. Closing it cancels the job."""
        ...

    async def score(self, job: ScoreJob) -> Scores | Refused:
        """A score for each conversation."""
        ...

    async def tokenize(self, prompt: Prompt, generate: bool) -> Tokens | Refused:
        """The prompt's tokens; `generate` opens the assistant's turn behind a chat."""
        ...

    async def prepare(self, adapter: AdapterRef) -> Refused | None:
        """Load the adapter wherever it may be asked for; why it cannot be had, if it cannot."""
        ...

    async def keep(self, adapters: tuple[AdapterRef, ...]) -> None:
        """Load these soon and hold on to them, in place of those kept before."""
        ...

    async def ready(self) -> bool:
        """Whether jobs would be taken now."""
        ...
