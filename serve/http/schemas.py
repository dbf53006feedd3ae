"""Request bodies of OpenAI's API, and of this service's own routes.

Unknown fields are ignored, as by other OpenAI-compatible servers, and named in a header of the
response. Known fields that are not supported and would change the answer are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    model_validator,
)

from serve.batching.jobs import AdapterRef, Chat, GenerateJob
from serve.http.sampling_fields import (
    MAXIMUM_TOKENS,
    as_list,
    sampling_of,
    with_sampling_fields,
)

#: Characters of a message or prompt: far more than any context, few enough to be processed fast.
MAXIMUM_TEXT = 1_000_000
MAXIMUM_MESSAGES = 1000
MAXIMUM_CONVERSATIONS = 256
MAXIMUM_PROMPTS = 128


def _joined(content: Any) -> Any:
    """A list of text parts, joined to a string. The field's validation checks other values."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("only text can be read: expected a string or parts of type 'text'")
    return "\n".join(str(text) for text in texts)


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character NUL")
    return text


def _neutral(value: Any) -> Any:
    if value and value != {"type": "text"}:
        raise ValueError("is not supported by this service; leave it out")
    return value


PlainText = Annotated[str, Field(max_length=MAXIMUM_TEXT)]
Key = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_no_nul)]
Neutral = Annotated[Any, AfterValidator(_neutral)]
Tokens = Annotated[int, Field(ge=1, le=MAXIMUM_TOKENS)]


class Body(BaseModel):
    """What all bodies have in common."""

    model_config = ConfigDict(strict=True, extra="allow")

    @property
    def ignored(self) -> list[str]:
        """The names of unknown fields in the body."""
        return sorted(self.model_extra or ())


class Message(Body):
    """One turn. `developer` is OpenAI's newer word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[PlainText, BeforeValidator(_joined)]


Messages = Annotated[list[Message], Field(min_length=1, max_length=MAXIMUM_MESSAGES)]


class StreamOptions(Body):
    """What a stream ends with."""

    include_usage: bool | None = None


@with_sampling_fields(openai=True)
class _Sampled(Body):
    """A model, and how it continues a prompt."""

    model: Key
    max_tokens: Tokens | None = None


@with_sampling_fields(openai=False)
class _Generation(_Sampled):
    """What chats and completions have in common. Null means the default, as in OpenAI's API."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Key | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def _job(self, prompts: tuple[Chat, ...] | tuple[str, ...], **fields: Any) -> GenerateJob:
        return GenerateJob(
            prompts=prompts, streamed=bool(self.stream), **sampling_of(self), **fields
        )


class ChatRequest(_Generation):
    """POST /v1/chat/completions."""

    messages: Messages
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    tools: Neutral = None
    functions: Neutral = None
    response_format: Neutral = None

    @model_validator(mode="after")
    def _top_needs_logprobs(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs is for requests with logprobs: set logprobs to true")
        return self

    def job(self, adapter: AdapterRef | None) -> GenerateJob:
        """The engine's job for this request."""
        return self._job(
            (chat(self.messages),),
            adapter=adapter,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
        )


class CompletionRequest(_Generation):
    """POST /v1/completions. Prompts are text; lists of token ids are not taken."""

    prompt: Annotated[
        list[Annotated[PlainText, Field(min_length=1)]],
        Field(min_length=1, max_length=MAXIMUM_PROMPTS),
        BeforeValidator(as_list),
    ]

    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None

    echo: Neutral = None
    suffix: Neutral = None

    def job(self, adapter: AdapterRef | None) -> GenerateJob:
        """The engine's job for this request."""
        return self._job(
            tuple(self.prompt),
            adapter=adapter,
            max_tokens=self.max_tokens,
            logprobs=self.logprobs,
        )


class ScoreRequest(Body):
    """POST /v1/score: one conversation as `messages`, or several as `conversations`."""

    model: Key
    messages: Messages | None = None
    conversations: (
        Annotated[list[Messages], Field(min_length=1, max_length=MAXIMUM_CONVERSATIONS)] | None
    ) = None

    @model_validator(mode="after")
    def _one_of_them(self) -> ScoreRequest:
        if (self.messages is None) == (self.conversations is None):
            raise ValueError("expected either 'messages' or 'conversations'")
        return self

    @property
    def chats(self) -> tuple[Chat, ...]:
        """All conversations."""
        return tuple(chat(messages) for messages in self.conversations or [self.messages or []])


class TokenizeRequest(Body):
    """POST /tokenize: text as `prompt`, or a chat as `messages` in the base's template.

    `add_generation_prompt` opens the assistant's turn behind them, as a chat completion does.
    """

    model: Key = "base"
    prompt: PlainText | None = None
    messages: Messages | None = None
    add_generation_prompt: bool = True

    @model_validator(mode="after")
    def _one_of_them(self) -> TokenizeRequest:
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("expected either 'prompt' or 'messages'")
        return self


class FeedbackRequest(Body):
    """POST /v1/feedback: what a user said of the answer with this `id`."""

    request_id: Annotated[Key, Field(max_length=64)]
    value: Annotated[FiniteFloat, Field(ge=-1e100, le=1e100)]
    comment: Annotated[str, Field(max_length=10_000), AfterValidator(_no_nul)] | None = None


def chat(messages: list[Message]) -> Chat:
    """The messages in the form that chat templates expect."""
    roles = {"developer": "system"}
    return tuple(
        {"role": roles.get(message.role, message.role), "content": message.content}
        for message in messages
    )
