"""What travels between the ingress and an engine replica. Imports neither torch nor Ray."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
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

    `max_tokens` None: as many as the replica allows by default. `streamed` asks for text as it
    is written; without it only finished rows come back.
    """

    prompts: tuple[Prompt, ...]
    adapter: AdapterRef | None = None
    n: int = 1
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()
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


@dataclass(frozen=True)
class Accepted:
    """The prompts are tokenised and fit; comes before anything else."""

    prompt_tokens: int


@dataclass(frozen=True)
class Text:
    """New text of a row of a streamed job."""

    row: int
    text: str


@dataclass(frozen=True)
class Done:
    """A row's end with all of its text."""

    row: int
    text: str
    tokens: int
    finish_reason: FinishReason


@dataclass(frozen=True)
class Refused:
    """A job that is not done, as an HTTP status and a message; nothing comes after it."""

    status: int
    message: str
    code: str
    param: str | None = None


Event = Accepted | Text | Done | Refused


@dataclass(frozen=True)
class Outcome:
    """A finished job: one `Done` for each row, in the order of rows."""

    prompt_tokens: int
    rows: tuple[Done, ...]


class EngineClient(Protocol):
    """An engine as the ingress sees it: a `Worker` in the process, or one behind Ray."""

    async def complete(self, job: GenerateJob) -> Outcome | Refused:
        """Do the job and return everything at its end."""
        ...

    def stream(self, job: GenerateJob) -> AsyncGenerator[list[Event], None]:
        """Do the job and yield what is new since the last time. Closing it cancels the job."""
        ...

    async def score(self, job: ScoreJob) -> list[float] | Refused:
        """A score for each conversation."""
        ...

    async def ready(self) -> bool:
        """Whether jobs would be taken now."""
        ...
