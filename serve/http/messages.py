"""Messages of chats, and how they are rendered with the base's template, as fields of bodies."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from align.chat_encoder import ChatOptions
from serve.batching.jobs import Chat
from serve.http.errors import IN_FIELD
from serve.http.refused_fields import MESSAGE, with_refused_fields

#: Characters of a message or prompt: far more than any context, few enough to be processed fast.
MAXIMUM_TEXT = 1_000_000
MAXIMUM_MESSAGES = 1000
#: Of `chat_template_kwargs`: characters of JSON, and objects or lists within each other.
MAXIMUM_VARIABLES = 100_000
MAXIMUM_DEPTH = 16
#: Types of content parts with text, in OpenAI's two APIs.
_TEXT_PARTS = ("text", "input_text", "output_text")
#: Fields of a message that go to the chat template as they are, if it reads them.
_TEMPLATE_FIELDS = ("name", "reasoning_content", "reasoning", "thinking")


def _joined(content: Any) -> Any:
    """A list of text parts, joined to a string. The field's validation checks other values."""
    if content is None:
        raise ValueError(
            "is null: expected text (calls of tools are not supported by this service; leave out "
            "messages that have nothing else)"
        )
    if not isinstance(content, list):
        return content
    texts = [
        part.get("text")
        if isinstance(part, dict) and part.get("type", "text") in _TEXT_PARTS
        else None
        for part in content
    ]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("only text can be read: expected a string or parts of type 'text'")
    return "\n".join(str(text) for text in texts)


def _known_role(role: Any) -> Any:
    if role in ("tool", "function"):
        raise ValueError(
            "tools are not supported by this service; send the tool's result as a message of the "
            "role 'user'"
        )
    return role


def _small(variables: dict[str, Any]) -> dict[str, Any]:
    """The variables, if they are neither nested deeply nor long."""
    level: list[Any] = [variables]
    for _ in range(MAXIMUM_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise ValueError(f"is nested more than {MAXIMUM_DEPTH} deep")
    text = json.dumps(variables, ensure_ascii=False)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("has half of a surrogate pair, which is no character")
    if len(text) > MAXIMUM_VARIABLES:
        raise ValueError(f"has more than {MAXIMUM_VARIABLES} characters of JSON")
    return variables


PlainText = Annotated[str, Field(max_length=MAXIMUM_TEXT)]
Variables = Annotated[
    dict[Annotated[str, Field(max_length=64)], Any],
    Field(max_length=32),
    AfterValidator(_small),
]


class Body(BaseModel):
    """What all bodies have in common."""

    model_config = ConfigDict(strict=True, extra="allow")

    @property
    def ignored(self) -> list[str]:
        """The names of unknown fields in the body."""
        return sorted(self.model_extra or ())


@with_refused_fields(MESSAGE)
class Message(Body):
    """A turn. `developer` is OpenAI's newer word for `system`.

    `name` and an earlier answer's reasoning are for chat templates that read them.
    """

    role: Annotated[
        Literal["system", "developer", "user", "assistant"], BeforeValidator(_known_role)
    ]
    content: Annotated[PlainText, BeforeValidator(_joined)]
    name: Annotated[str, Field(max_length=255)] | None = None
    reasoning_content: PlainText | None = None
    reasoning: PlainText | None = None
    thinking: PlainText | None = None


Messages = Annotated[list[Message], Field(min_length=1, max_length=MAXIMUM_MESSAGES)]


class Rendered(Body):
    """How a chat is rendered with the base's template, with vLLM's names and defaults."""

    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: Variables | None = None

    @model_validator(mode="after")
    def _opened_or_continued(self) -> Self:
        if self.continue_final_message and self.add_generation_prompt is not False:
            raise PydanticCustomError(
                f"{IN_FIELD}continue_final_message",
                "the last message stays open, so no turn can be opened behind it: set "
                "add_generation_prompt to false, or leave continue_final_message out",
            )
        return self

    @property
    def generate(self) -> bool:
        """Whether the assistant's turn is opened behind the messages."""
        return self.add_generation_prompt is not False

    @property
    def chat_options(self) -> ChatOptions:
        """How the chat is rendered, for the engine."""
        return ChatOptions(bool(self.continue_final_message), self.chat_template_kwargs or {})


def chat(messages: list[Message]) -> Chat:
    """The messages in the form that chat templates expect."""
    return tuple(_turn(message) for message in messages)


def _turn(message: Message) -> dict[str, str]:
    role = "system" if message.role == "developer" else message.role
    values = {name: getattr(message, name) for name in _TEMPLATE_FIELDS}
    given = {name: value for name, value in values.items() if value is not None}
    return {"role": role, "content": message.content, **given}
