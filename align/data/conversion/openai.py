"""OpenAI's rows for preference fine-tuning: `input`, `preferred_output`, `non_preferred_output`."""

from __future__ import annotations

from collections.abc import Mapping

from align.data.conversion.form import Form, Row
from align.data.conversion.messages import messages_of
from align.data.conversion.values import ValueProblem, parsed

_SIDES = {"chosen": "preferred_output", "rejected": "non_preferred_output"}


def openai_preference(columns: set[str]) -> Form | None:
    """The form; None if these are not its columns."""
    if not {"input", *_SIDES.values()} <= columns:
        return None
    origins = {"prompt": "input", **_SIDES}
    return Form("OpenAI's preference", origins, frozenset(origins.values()), _convert)


def _convert(row: Row) -> Row:
    given = parsed(row["input"])
    asked = given.get("messages") if isinstance(given, Mapping) and "messages" in given else given
    if not asked or isinstance(asked, str):
        raise ValueProblem("column 'input' must be an object with messages", row["input"])
    converted = {ours: messages_of(theirs, row[theirs]) for ours, theirs in _SIDES.items()}
    tools = given.get("tools") if isinstance(given, Mapping) else None
    extra = {"tools": tools} if tools else {}
    return {"prompt": messages_of("input", asked), **converted, **extra}
