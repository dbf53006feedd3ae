"""Messages between the ingress and an engine replica. Imports neither torch nor Ray."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from align.chat_encoder import PLAIN_CHAT, ChatOptions
from align.inference.sampling_params import SamplingParams
from align.inference.types import FinishReason

#: A chat with roles, for the base's template.
Chat = tuple[dict[str, str], ...]
#: A chat or plain text.
Prompt = Chat | str


@dataclass(frozen=True)
class AdapterRef:
    """A registered adapter. `name` is its `line:number`, which always means the same adapter."""

    adapter_id: str
    name: str


@dataclass(frozen=True)
class GenerateJob(SamplingParams):
    """A request for `n` completions of each prompt. `adapter` None is the base.

    `max_tokens` None: as many as the replica allows by default. Unlike in the engine's requests,
    `top_p` may be 0, which is greedy, and row i of all rows samples with `seed + i`. `streamed`
    requests text as it is generated; otherwise only finished rows are returned. Of a chat,
    `generate` opens the assistant's turn, and `chat` says how it is rendered besides.
    """

    prompts: tuple[Prompt, ...]
    adapter: AdapterRef | None = None
    max_tokens: int | None = None
    streamed: bool = False
    generate: bool = True
    chat: ChatOptions = PLAIN_CHAT

    @property
    def rows(self) -> int:
        """The total number of completions; row i continues prompt i // n."""
        return len(self.prompts) * self.n


@dataclass(frozen=True)
class ScoreJob:
    """A request to score conversations with a reward adapter."""

    conversations: tuple[Chat, ...]
    adapter: AdapterRef

    @property
    def rows(self) -> int:
        """The number of rows, which is that of conversations."""
        return len(self.conversations)


Job = GenerateJob | ScoreJob


@dataclass(frozen=True)
class Tokens:
    """A prompt's token ids, and the context length that prompt and completion share."""

    ids: tuple[int, ...]
    context: int


@dataclass(frozen=True)
class TokenLogprob:
    """A token of a completion: its UTF-8 bytes (maybe part of a character), its log-probability.

    `offset` is the token's start in its row's text, in characters. `top` has the likeliest tokens
    at its position, best first.
    """

    raw: bytes
    logprob: float
    offset: int
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True)
class Accepted:
    """The prompts are tokenised and fit the context. The first event of a job that is accepted."""

    prompt_tokens: int


@dataclass(frozen=True)
class Text:
    """New text of a row of a streamed job; `tokens` is the number of its tokens.

    `logprobs` is None if the job requests none.
    """

    row: int
    text: str
    logprobs: tuple[TokenLogprob, ...] | None = None
    tokens: int = 1


@dataclass(frozen=True)
class Done:
    """The end of a row, with its whole text."""

    row: int
    text: str
    tokens: int
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True)
class Scored:
    """A conversation's score, which ends its row."""

    row: int
    score: float


@dataclass(frozen=True)
class Refused:
    """The refusal of a job, as an HTTP status and a message. The last event of its job."""

    status: int
    message: str
    code: str
    param: str | None = None


Event = Accepted | Text | Done | Scored | Refused


@dataclass(frozen=True)
class Outcome:
    """The result of a job: a `Done` for each row, in the order of rows."""

    prompt_tokens: int
    rows: tuple[Done, ...]


@dataclass(frozen=True)
class Scores:
    """The result of a score job: a value for each conversation, in their order."""

    prompt_tokens: int
    values: tuple[float, ...]


class EngineClient(Protocol):
    """An engine as the ingress sees it: a `Worker` in this process or behind Ray."""

    async def complete(self, job: GenerateJob) -> Outcome | Refused:
        """Do the job and return its whole result."""
        ...

    def stream(self, job: GenerateJob) -> AsyncGenerator[list[Event], None]:
        """Do the job and yield new events as they come. Closing the generator cancels the job."""
        ...

    async def score(self, job: ScoreJob) -> Scores | Refused:
        """A score for each conversation."""
        ...

    async def tokenize(
        self, prompt: Prompt, generate: bool, chat: ChatOptions = PLAIN_CHAT
    ) -> Tokens | Refused:
        """The prompt's tokens; of a chat as a `GenerateJob` with `generate` and `chat` has them."""
        ...

    async def prepare(self, adapter: AdapterRef) -> Refused | None:
        """Load the adapter on every replica. Returns the refusal if that fails, else None."""
        ...

    async def keep(self, adapters: tuple[AdapterRef, ...]) -> None:
        """Load these adapters soon and retain them, in place of those of the previous call."""
        ...

    async def ready(self) -> bool:
        """Whether jobs are accepted now."""
        ...
