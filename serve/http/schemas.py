"""Request bodies of OpenAI's API, and of this service's own routes.

Unknown fields are ignored, as by other OpenAI-compatible servers, and named in a header of the
response. Fields that are not supported and would change the answer are refused
(`serve.http.refused_fields`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from serve.batching.jobs import AdapterRef, Chat, GenerateJob
from serve.http.errors import IN_FIELD
from serve.http.messages import Body, Messages, PlainText, Rendered, chat
from serve.http.refused_fields import (
    CHAT,
    COMPLETION,
    SCORE,
    TOKENIZE,
    UNSUPPORTED,
    with_refused_fields,
)
from serve.http.sampling_fields import (
    MAXIMUM_TOKENS,
    as_list,
    sampling_of,
    with_sampling_fields,
)

MAXIMUM_CONVERSATIONS = 256
MAXIMUM_PROMPTS = 128


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character NUL")
    return text


def _only_best(value: int | None, info: ValidationInfo) -> int | None:
    if value is not None and value != (info.data.get("n") or 1):
        raise PydanticCustomError(
            UNSUPPORTED,
            "is not supported by this service beyond n; ask for n completions with logprobs, and "
            "take the best",
        )
    return value


Key = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_no_nul)]
Tokens = Annotated[int, Field(ge=1, le=MAXIMUM_TOKENS)]


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
    best_of: Annotated[int | None, AfterValidator(_only_best)] = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def _job(self, prompts: tuple[Chat, ...] | tuple[str, ...], **fields: Any) -> GenerateJob:
        return GenerateJob(
            prompts=prompts, streamed=bool(self.stream), **sampling_of(self), **fields
        )


@with_refused_fields(CHAT)
class ChatRequest(Rendered, _Generation):
    """POST /v1/chat/completions."""

    messages: Messages
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

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
            generate=self.generate,
            chat=self.chat_options,
        )


@with_refused_fields(COMPLETION)
class CompletionRequest(_Generation):
    """POST /v1/completions. Prompts are text; lists of token ids are not taken."""

    prompt: Annotated[
        list[Annotated[PlainText, Field(min_length=1)]],
        Field(min_length=1, max_length=MAXIMUM_PROMPTS),
        BeforeValidator(as_list),
    ]

    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None

    def job(self, adapter: AdapterRef | None) -> GenerateJob:
        """The engine's job for this request."""
        return self._job(
            tuple(self.prompt),
            adapter=adapter,
            max_tokens=self.max_tokens,
            logprobs=self.logprobs,
        )


@with_refused_fields(SCORE)
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


@with_refused_fields(TOKENIZE)
class TokenizeRequest(Rendered):
    """POST /tokenize: text as `prompt`, or a chat as `messages` in the base's template.

    A chat is rendered as for a chat completion with the same fields.
    """

    model: Key = "base"
    prompt: PlainText | None = None
    messages: Messages | None = None
    add_special_tokens: bool | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> TokenizeRequest:
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("expected either 'prompt' or 'messages'")
        if self.add_special_tokens not in (None, self.messages is None):
            raise PydanticCustomError(
                f"{IN_FIELD}add_special_tokens",
                "a prompt has the tokenizer's special tokens, and a chat those of the base's "
                "template; leave it out",
            )
        return self


class FeedbackRequest(Body):
    """POST /v1/feedback: what a user said of the answer with this `id`."""

    request_id: Annotated[Key, Field(max_length=64)]
    value: Annotated[FiniteFloat, Field(ge=-1e100, le=1e100)]
    comment: Annotated[str, Field(max_length=10_000), AfterValidator(_no_nul)] | None = None
