"""Chats as token ids, by the base's chat template. Imports no torch.

A chat template writes control tokens such as `<|im_end|>` as text, so a tokenizer cannot know which
of them a user has typed. `ChatEncoder` knows: only those of the template become control tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from jinja2 import Environment, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser

from align.chat_tools import template_arguments
from align.control_text import ControlText
from align.errors import RequestError

#: What a template may call, besides its variables.
_FUNCTIONS = {"raise_exception", "strftime_now", "dict", "namespace", "range", "lipsum", "cycler"}


@dataclass(frozen=True)
class ChatOptions:
    """How a chat is rendered, besides its messages.

    `continue_final` leaves the last message open, whatever its role, so that it is continued.
    `variables` are further variables of the base's chat template, by name.
    """

    continue_final: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)


#: The messages alone.
PLAIN_CHAT = ChatOptions()


class ChatEncoder:
    """Applies a tokenizer's chat template.

    The text of a control token in a message is encoded as ordinary text; with
    `parse_control_tokens` as the control token, so that whoever writes a message can end its turn.
    """

    def __init__(self, tokenizer: Any, parse_control_tokens: bool = False):
        self._tokenizer, self._parse = tokenizer, parse_control_tokens

    @cached_property
    def _control(self) -> ControlText | None:
        """Made for the first chat: some engines only ever get token ids."""
        return None if self._parse else ControlText(self._tokenizer)

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        generate: bool = True,
        options: ChatOptions = PLAIN_CHAT,
    ) -> list[int]:
        """The ids of a chat; those of `apply_chat_template` if no message has control tokens.

        `generate` opens the assistant's turn behind the messages. The template gets the tools that
        the first message carries.

        RequestError for variables that the template does not read or cannot use, and if it does not
        render the last message as it is; jinja2's TemplateError if it refuses the messages.
        """
        self._check(options.variables)
        plain, tools = template_arguments(messages)
        variables = {**options.variables, **tools}
        value = plain, variables
        hidden = None if self._control is None else self._control.hide(value)
        if self._control is None or hidden is None:
            text = self._render(*value, generate, options.continue_final)
            return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        (shown, values), originals = hidden
        text = self._render(shown, values, generate, options.continue_final)
        return self._control.encode(text, originals)

    def _render(
        self,
        messages: list[Any],
        variables: dict[str, Any],
        generate: bool,
        continue_final: bool,
    ) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    messages,
                    tokenize=False,
                    add_generation_prompt=generate,
                    continue_final_message=continue_final,
                    **variables,
                )
            )
        except TemplateError:
            raise
        except Exception as error:
            if variables.keys() - {"tools"}:  # of types that the template does not expect
                raise RequestError(
                    "chat_template_kwargs: the base's chat template cannot use these values: "
                    f"{type(error).__name__}: {_line(error)}"
                ) from None
            if continue_final and isinstance(error, ValueError):
                raise RequestError(
                    "continue_final_message: the base's chat template does not render the last "
                    "message as it is, so it cannot be continued; end it with other text, or set "
                    "continue_final_message to false"
                ) from None
            raise

    def _check(self, variables: Mapping[str, Any]) -> None:
        if not variables:
            return
        own = set(inspect.signature(self._tokenizer.apply_chat_template).parameters)
        reserved = own | {"messages", *self._tokenizer.special_tokens_map, *_FUNCTIONS}
        for name in variables:
            if name in reserved:
                raise RequestError(
                    f"chat_template_kwargs: '{name}' is not a variable that a request may set; "
                    "leave it out, or send it as a field of its own where there is one"
                )
        allowed = sorted(template_variables(self._tokenizer.get_chat_template()) - reserved)
        for name in variables:
            if name not in allowed:
                known = f"it reads {', '.join(allowed)}" if allowed else "it reads none"
                raise RequestError(
                    f"chat_template_kwargs: the base's chat template does not read '{name}'; "
                    f"{known}"
                )


@lru_cache(maxsize=2)
def template_variables(template: str) -> frozenset[str]:
    """The names of the variables that a chat template reads and does not set."""
    extensions: list[str | type[Extension]] = [_GenerationBlock, "jinja2.ext.loopcontrols"]
    environment = Environment(extensions=extensions, autoescape=False)
    return frozenset(find_undeclared_variables(environment.parse(template)))


class _GenerationBlock(Extension):
    """The block `{% generation %}`, with which templates mark the assistant's tokens."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The block's content."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
