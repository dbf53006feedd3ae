"""Columns by the names that a recipe gives them, and proposals for names that are known."""

from __future__ import annotations

from collections.abc import Mapping

from align.data.conversion.conversations import REFERENCES
from align.data.conversion.form import Row, Rows, sample
from align.data.conversion.messages import CONVERSATIONS, holds_messages
from align.errors import DataError
from align.suggestions import did_you_mean

#: Other names of TRL's columns, in lower case and with underscores; the likelier first.
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "messages": (*CONVERSATIONS, "dialogue", "dialog", "chat"),
    "prompt": (
        "prompt", "question", "query", "instruction", "problem", "user", "user_input", "request",
        "input", "source",
    ),
    "chosen": (
        "chosen", "chosen_response", "response_chosen", "preferred", "preferred_response",
        "accepted", "better", "winner", "response_j",
    ),
    "rejected": (
        "rejected", "rejected_response", "response_rejected", "dispreferred",
        "dispreferred_response", "worse", "loser", "response_k",
    ),
    "completion": (
        "completion", "response", "output", "reply", "assistant", "target", "generation", "summary",
    ),
    "answer": (*REFERENCES, "label", "target"),
    "label": ("label",),
}  # fmt: skip
#: The columns of which a proposal needs all, the first that fit.
_NEEDED = (
    ("prompt", "chosen", "rejected"),
    ("prompt", "completion"),
    ("prompt", "answer"),
    ("chosen", "rejected"),
    ("messages",),
)


def renamed(source: str, rows: dict[int, Row], columns: Mapping[str, str]) -> dict[int, Row]:
    """The rows with the columns that `columns` (TRL's name: the file's) names under TRL's names.

    DataError if the file has no such column. A column of TRL's name that another takes the place of
    is dropped.
    """
    if not columns or not rows:
        return rows
    present = next(iter(rows.values()))
    for ours, theirs in columns.items():
        if theirs not in present:
            near = did_you_mean(theirs, present, before="; ", ignore_case=True)
            raise DataError(
                f"{source}: data.columns.{ours}: no column '{theirs}'{near}; "
                f"the columns are {', '.join(present)}"
            )
    others = [name for name in present if name not in columns and name not in columns.values()]
    return {
        number: {
            **{ours: row[theirs] for ours, theirs in columns.items()},
            **{name: row[name] for name in others},
        }
        for number, row in rows.items()
    }


def proposed(rows: Rows, columns: set[str]) -> dict[str, str]:
    """A value of `data.columns` for a file without TRL's names; empty if none is recognised.

    An answer without a number in it cannot be checked, and is taken for a completion.
    """
    spelled = {"_".join(name.lower().replace("-", " ").split()): name for name in sorted(columns)}
    for needed in _NEEDED:
        found: dict[str, str] = {}
        for ours in needed:
            names = (spelled[name] for name in _SYNONYMS[ours] if name in spelled)
            if theirs := next((name for name in names if name not in found.values()), ""):
                found[ours] = theirs
        if len(found) < len(needed):
            continue
        if "messages" in found and not holds_messages(sample(rows, found["messages"])):
            continue
        if "answer" in found and not all(
            _has_number(row[found["answer"]]) for row in rows.values()
        ):
            found["completion"] = found.pop("answer")
        return found
    return {}


def as_field(columns: Mapping[str, str]) -> str:
    """The proposal as a recipe's field, for a message."""
    pairs = ", ".join(f"{ours}: {theirs}" for ours, theirs in columns.items() if ours != theirs)
    return f"data.columns: {{{pairs}}}"


def _has_number(value: object) -> bool:
    return any(character.isdigit() for character in str(value))
