"""Request bodies of OpenAI's API, and of this service's own routes.

Unknown fields are ignored, as by other OpenAI-compatible servers, and named in a header of the
response. Known fields that are not supported and would change the answer are refused.
"""

from __future__ import annotations

import re
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

#: Characters of a message or prompt: far more than any context, few enough to be processed fast.
MAXIMUM_TEXT = 1_000_000
MAXIMUM_MESSAGES = 1000
MAXIMUM_CONVERSATIONS = 256
MAXIMUM_CHOICES = 128
MAXIMUM_TOKENS = 1_000_000
MAXIMUM_BIASES = 1024
_TOKEN = re.compile(r"[0-9]{1,9}")


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


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _by_token(value: Any) -> Any:
    """Token ids as integers, since JSON keys are strings. The field's validation checks others."""
    if not isinstance(value, dict):
        return value
    return {int(key) if _TOKEN.fullmatch(str(key)) else key: bias for key, bias in value.items()}


PlainText = Annotated[str, Field(max_length=MAXIMUM_TEXT)]
Key = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_no_nul)]
Neutral = Annotated[Any, AfterValidator(_neutral)]
StopText = Annotated[str, Field(min_length=1, max_length=1000)]
Tokens = Annotated[int, Field(ge=1, le=MAXIMUM_TOKENS)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Penalty = Annotated[FiniteFloat, Field(ge=-2, le=2)]
Bias = Annotated[FiniteFloat, Field(ge=-100, le=100)]


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


class _Generation(Body):
    """What chats and completions have in common. Null means the default, as in OpenAI's API."""

    model: Key
    max_tokens: Tokens | None = None
    temperature: Annotated[FiniteFloat, Field(ge=0, le=2)] | None = None
    top_p: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: (
        Annotated[dict[TokenId, Bias], Field(max_length=MAXIMUM_BIASES), BeforeValidator(_by_token)]
        | None
    ) = None
    n: Annotated[int, Field(ge=1, le=MAXIMUM_CHOICES)] | None = None
    stop: Annotated[list[StopText], Field(max_length=4), BeforeValidator(_as_list)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Key | None = None

    # Not part of OpenAI's API, but sent by clients of other servers of open models.
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    min_tokens: Annotated[int, Field(ge=0, le=MAXIMUM_TOKENS)] | None = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=64)] | None = None
    ignore_eos: bool | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def _job(self, prompts: tuple[Chat, ...] | tuple[str, ...], **fields: Any) -> GenerateJob:
        return GenerateJob(
            prompts=prompts,
            n=self.n or 1,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k or 0,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias=self.logit_bias or {},
            seed=self.seed,
            stop=tuple(self.stop or ()),
            stop_ids=tuple(self.stop_token_ids or ()),
            min_tokens=self.min_tokens or 0,
            ignore_eos=bool(self.ignore_eos),
            streamed=bool(self.stream),
            **fields,
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
        Field(min_length=1, max_length=MAXIMUM_CHOICES),
        BeforeValidator(_as_list),
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
