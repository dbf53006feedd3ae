"""Whether a base's chat template shows the tools and tool calls of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from align.chat_tools import template_arguments, without_tools
from align.data.user_rows import Row
from align.errors import DataError

_ANSWERS = ("completion", "chosen", "rejected")


def hidden_tools(tokenizer: Any, rows: Sequence[Row]) -> dict[str, list[int]]:
    """What the template does not show (`tools`, `tool calls`), and the indices of rows with it.

    `rows` are in conversational form. Templates are asked with the first row that has any.
    """
    having = {
        "tool calls": [at for at, row in enumerate(rows) if any(_calls(_turns(row)))],
        "tools": [at for at, row in enumerate(rows) if without_tools(row["prompt"])[1]],
    }
    shows = {"tool calls": _shows_calls, "tools": _shows_tools}
    return {
        kind: indices
        for kind, indices in having.items()
        if indices and not shows[kind](tokenizer, rows[indices[0]])
    }


def check_tool_answers(tokenizer: Any, rows: Sequence[Row]) -> None:
    """DataError if answers that are trained on are tool calls that the template does not show."""
    empty = [row for row in rows if any(_is_bare_call(row, side) for side in _ANSWERS)]
    if empty and not _shows_calls(tokenizer, empty[0]):
        raise DataError(
            f"{len(empty)} of {len(rows)} rows end with a tool call, which the base's chat "
            "template does not show, so an empty answer would be trained: end them with the answer "
            "to the tool's result, or take a base whose template shows tool calls"
        )


def _turns(row: Row) -> list[dict[str, Any]]:
    return [*row["prompt"], *(turn for side in _ANSWERS for turn in row.get(side, ()))]


def _calls(turns: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (turn for turn in turns if turn.get("tool_calls"))


def _is_bare_call(row: Row, side: str) -> bool:
    """Whether an answer calls a tool and says nothing beside."""
    return any(not turn["content"].strip() for turn in _calls(row.get(side, ())))


def _shows_calls(tokenizer: Any, row: Row) -> bool:
    turns, arguments = template_arguments(row["prompt"])
    for side in _ANSWERS:
        whole = [*turns, *row.get(side, ())]
        bare = [
            {name: part for name, part in turn.items() if name != "tool_calls"} for turn in whole
        ]
        if whole != bare and _text(tokenizer, whole, arguments) != _text(
            tokenizer, bare, arguments
        ):
            return True
    return False


def _shows_tools(tokenizer: Any, row: Row) -> bool:
    turns, arguments = template_arguments(row["prompt"])
    return _text(tokenizer, turns, arguments) != _text(tokenizer, turns, {})


def _text(tokenizer: Any, messages: Sequence[Any], arguments: dict[str, Any]) -> str:
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, **arguments))
