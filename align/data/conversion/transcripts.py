"""Transcripts of HH-RLHF: `\\n\\nHuman: …\\n\\nAssistant: …` in one text."""

from __future__ import annotations

import re
from typing import Any

from align.data.conversion.form import Form, LeftOut, Row, Rows, sample
from align.data.conversion.messages import Message
from align.data.conversion.values import ValueProblem

_ROLES = {"Human": "user", "Assistant": "assistant"}
_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ ]?")
_ANSWERS = ("chosen", "rejected", "completion")


def transcripts(rows: Rows, columns: set[str]) -> Form | None:
    """The form of pairs whose texts, or whose prompt, are transcripts; None if they are not."""
    if "prompt" in columns and is_transcript(sample(rows, "prompt")):
        answers = tuple(column for column in _ANSWERS if column in columns)
        origins = {column: column for column in ("prompt", *answers)}

        def convert(row: Row) -> Row:
            texts = {column: _stripped(row[column]) for column in answers}
            return {"prompt": _asked(row["prompt"]), **texts}

        return Form("HH-RLHF's transcripts", origins, frozenset(origins), convert)
    sides = ("chosen", "rejected")
    if "prompt" in columns or not set(sides) <= columns:
        return None
    if not all(is_transcript(sample(rows, side)) for side in sides):
        return None
    origins = {"prompt": "chosen", **{side: side for side in sides}}
    return Form("HH-RLHF's transcripts", origins, frozenset(sides), _pair)


def is_transcript(value: Any) -> bool:
    """Whether a value is a transcript: it begins with a turn of the human, and has an answer."""
    text = value.strip() if isinstance(value, str) else ""
    return text.startswith("Human:") and "\n\nAssistant:" in text


def _pair(row: Row) -> Row:
    chosen, rejected = _turns("chosen", row["chosen"]), _turns("rejected", row["rejected"])
    for side, turns in (("chosen", chosen), ("rejected", rejected)):
        if turns[-1]["role"] != "assistant" or not turns[-1]["content"]:
            raise LeftOut(f"have a transcript in '{side}' that ends without an answer")
    if len(chosen) < 2 or chosen[:-1] != rejected[:-1]:
        raise LeftOut("have transcripts that differ before the last answer, so they are no pair")
    return {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}


def _asked(value: Any) -> list[Message]:
    turns = _turns("prompt", value)
    return turns[:-1] if not turns[-1]["content"] else turns


def _turns(column: str, value: Any) -> list[Message]:
    if not is_transcript(value):
        raise ValueProblem(
            f"column '{column}' must be a transcript as in other rows, such as "
            "'\\n\\nHuman: …\\n\\nAssistant: …'",
            value,
        )
    _, *parts = _TURN.split(value.strip())
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [{"role": _ROLES[speaker], "content": text.strip()} for speaker, text in pairs]


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value
