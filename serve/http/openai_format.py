"""Answers in the formats of OpenAI's API, whole and as server-sent events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from serve.batching.jobs import Accepted, Done, Event, Outcome, Refused, Text
from serve.http.errors import ApiError
from serve.http.logprobs import chat_logprobs, text_logprobs

DONE = "data: [DONE]\n\n"


class ChatForm:
    """The format of /v1/chat/completions."""

    prefix, whole, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, done: Done) -> dict[str, Any]:
        """The choice of a finished row."""
        message = {"role": "assistant", "content": done.text, "refusal": None}
        logprobs = chat_logprobs(done.logprobs)
        return {**_choice(done.row, _reason(done), logprobs), "message": message}

    def opening(self, row: int) -> dict[str, Any] | None:
        """The first chunk's choice of a streamed row."""
        return {**_choice(row), "delta": {"role": "assistant", "content": ""}}

    def piece(self, text: Text) -> dict[str, Any]:
        """A chunk's choice with new text of a streamed row."""
        logprobs = chat_logprobs(text.logprobs)
        return {**_choice(text.row, None, logprobs), "delta": {"content": text.text}}

    def closing(self, done: Done) -> dict[str, Any]:
        """The last chunk's choice of a streamed row."""
        return {**_choice(done.row, _reason(done)), "delta": {}}


class TextForm:
    """The format of /v1/completions."""

    prefix, whole, chunk = "cmpl", "text_completion", "text_completion"

    def choice(self, done: Done) -> dict[str, Any]:
        """The choice of a finished row."""
        logprobs = text_logprobs(done.logprobs)
        return {**_choice(done.row, _reason(done), logprobs), "text": done.text}

    def opening(self, row: int) -> dict[str, Any] | None:
        """None: text completions have no role to announce."""
        return None

    def piece(self, text: Text) -> dict[str, Any]:
        """A chunk's choice with new text of a streamed row."""
        logprobs = text_logprobs(text.logprobs)
        return {**_choice(text.row, None, logprobs), "text": text.text}

    def closing(self, done: Done) -> dict[str, Any]:
        """The last chunk's choice of a streamed row."""
        return {**_choice(done.row, _reason(done)), "text": ""}


Form = ChatForm | TextForm


@dataclass
class Usage:
    """Prompt tokens, and completion tokens by row.

    Of an unfinished row, the tokens that were streamed are counted.
    """

    prompt: int = 0
    rows: dict[int, int] = field(default_factory=dict)

    @property
    def written(self) -> int:
        """The completion tokens of all rows."""
        return sum(self.rows.values())

    @property
    def total(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt + self.written

    def see(self, event: Event) -> None:
        """Count the event's tokens."""
        if isinstance(event, Accepted):
            self.prompt = event.prompt_tokens
        elif isinstance(event, Text):
            self.rows[event.row] = self.rows.get(event.row, 0) + event.tokens
        elif isinstance(event, Done):
            self.rows[event.row] = event.tokens

    def object(self) -> dict[str, int]:
        """The API's `usage` object."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.written,
            "total_tokens": self.total,
        }


@dataclass
class AnswerFormat:
    """An answer's format, and the fields that all of its parts have.

    `fingerprint` identifies the weights that answered; None in an experiment, where it is hidden.
    `ended` is the status of a stream that has all of its parts: 200, or that of its error.
    """

    form: Form
    model: str
    fingerprint: str | None
    rows: int
    include_usage: bool
    id: str = field(init=False)
    created: int = field(default_factory=lambda: int(time.time()), init=False)
    usage: Usage = field(default_factory=Usage, init=False)
    ended: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.id = f"{self.form.prefix}-{uuid.uuid4().hex}"

    def whole(self, outcome: Outcome) -> dict[str, Any]:
        """The whole answer as a JSON object."""
        events: list[Event] = [Accepted(outcome.prompt_tokens), *outcome.rows]
        for event in events:
            self.usage.see(event)
        choices = [self.form.choice(done) for done in outcome.rows]
        return {**self._head(self.form.whole, choices), "usage": self.usage.object()}

    async def events(
        self, first: list[Event], rest: AsyncGenerator[list[Event], None]
    ) -> AsyncGenerator[str, None]:
        """The answer as server-sent events. Closing this generator closes `rest`.

        All events of a batch are sent together, since each part takes a millisecond through Ray
        and its proxy.
        """
        async with aclosing(rest):
            events: list[Event] | None = first
            while events is not None:
                if part := "".join(self._told(events)):
                    yield part
                if any(isinstance(event, Refused) for event in events):
                    return
                events = await anext(rest, None)
        if self.include_usage:
            yield _sse({**self._chunk([]), "usage": self.usage.object()})
        self.ended = 200
        yield DONE

    def _told(self, events: list[Event]) -> Iterator[str]:
        for event in events:
            if isinstance(event, Refused):  # the response has begun, so its status cannot change
                self.ended = event.status
                yield _sse(ApiError.of(event).body())
                return
            self.usage.see(event)
            for choice in self._choices(event):
                yield _sse(self._chunk([choice]))

    def _choices(self, event: Event) -> Iterator[dict[str, Any]]:
        if isinstance(event, Accepted):
            openings = (self.form.opening(row) for row in range(self.rows))
            yield from (opening for opening in openings if opening is not None)
        elif isinstance(event, Text):
            yield self.form.piece(event)
        elif isinstance(event, Done):
            yield self.form.closing(event)

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        usage = {"usage": None} if self.include_usage else {}
        return {**self._head(self.form.chunk, choices), **usage}

    def _head(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }


def _choice(
    row: int, reason: str | None = None, logprobs: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"index": row, "logprobs": logprobs, "finish_reason": reason}


def _reason(done: Done) -> str:
    return "length" if done.finish_reason == "length" else "stop"


def _sse(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
