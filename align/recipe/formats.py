"""Which of TRL's data formats a file holds, and what they can train."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from align.errors import DataError
from align.recipe.model import Method
from align.recipe.rows import Row, numbers, read_rows


@dataclass(frozen=True)
class Format:
    """A set of columns with a meaning. `unusable` says why no stage can train on it."""

    name: str
    columns: tuple[str, ...]
    methods: tuple[Method, ...] = ()
    unusable: str = ""


#: TRL's names. The first format whose columns contain another's hides it.
FORMATS = (
    Format(
        "unpaired preference",
        ("prompt", "completion", "label"),
        unusable="no stage trains on single answers with a label yet; pair a good and a bad "
        "answer to the same prompt as chosen and rejected",
    ),
    Format("conversations", ("messages",), ("sft",)),
    Format("prompt-completion", ("prompt", "completion"), ("sft",)),
    Format("preference", ("chosen", "rejected"), ("reward", "dpo")),
    Format("prompt with answer", ("prompt", "answer"), ("grpo",)),
    Format(
        "language modelling",
        ("text",),
        unusable="stages train on answers to prompts; split the text into prompt and completion",
    ),
    Format(
        "prompt only",
        ("prompt",),
        unusable="GRPO needs an answer column to check completions against",
    ),
)
ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Findings:
    """What a data file holds.

    `prompts` counts different prompts, `repeats` the rows of the most frequent one. `characters`
    is the length that 95 % of rows stay under, prompt included; `answer_characters` that of the
    longest answer in a row alone (0 where the file has none).
    """

    path: Path
    rows: int
    columns: tuple[str, ...]
    formats: tuple[Format, ...]
    prompts: int
    repeats: int
    characters: int
    answer_characters: int

    @property
    def methods(self) -> tuple[Method, ...]:
        """What the rows can train, in the order of the stages."""
        allowed = {method for one in self.formats for method in one.methods}
        order: tuple[Method, ...] = ("sft", "reward", "dpo", "grpo")
        return tuple(method for method in order if method in allowed)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Columns that no format has a use for."""
        used = {"prompt"} | {column for one in self.formats for column in one.columns}
        return tuple(column for column in self.columns if column not in used)


def inspect_file(path: Path) -> Findings:
    """Recognise a JSONL, JSON, CSV or Parquet file.

    DataError names the rows that are malformed, the columns that were found and those that
    would do, or why a format that was recognised cannot be used.
    """
    rows = read_rows(path)
    columns = tuple(next(iter(rows.values())))
    formats = _checkable(path, rows, _recognise(path, columns))
    _check(path, rows, formats)
    prompts = Counter(_prompt(row) for row in rows.values())
    return Findings(
        path=path,
        rows=len(rows),
        columns=columns,
        formats=formats,
        prompts=len(prompts),
        repeats=max(prompts.values()),
        characters=_most(_length(row) for row in rows.values()),
        answer_characters=_most(_answer_length(row) for row in rows.values()),
    )


def _recognise(path: Path, columns: tuple[str, ...]) -> tuple[Format, ...]:
    found: list[Format] = []
    for one in FORMATS:
        hidden = any(set(one.columns) <= set(other.columns) for other in found)
        if set(one.columns) <= set(columns) and not hidden:
            found.append(one)
    usable = tuple(one for one in found if one.methods)
    if usable:
        return usable
    if found:
        raise DataError(f"{path}: {found[0].name}: {found[0].unusable}")
    allowed = "; ".join(" + ".join(one.columns) for one in FORMATS if one.methods)
    raise DataError(
        f"{path}: the columns {', '.join(columns)} are none of TRL's formats; allowed: {allowed}"
    )


def _checkable(path: Path, rows: dict[int, Row], formats: tuple[Format, ...]) -> tuple[Format, ...]:
    """Without GRPO where an answer holds no number. DataError if nothing else is left."""
    without = [n for n, row in rows.items() if not re.search(r"\d", str(row.get("answer", 0)))]
    left = tuple(one for one in formats if "answer" not in one.columns)
    if not without or left == formats:
        return formats
    if not left:
        raise DataError(
            f"{path}: {numbers(without)}: column 'answer' holds no number, and the reward "
            "'correctness' compares the last numbers of completion and answer"
        )
    return left


def _check(path: Path, rows: dict[int, Row], formats: tuple[Format, ...]) -> None:
    columns = {column for one in formats for column in one.columns}
    if "prompt" in next(iter(rows.values())):
        columns.add("prompt")
    for column in sorted(columns):
        _refuse(path, rows, partial(_complaint, column))
        kinds = {type(row[column]) for row in rows.values()} - {int, float}
        if len(kinds) > 1 and column != "answer":
            raise DataError(
                f"{path}: column '{column}' is text in some rows and messages in others"
            )
    if "chosen" in columns and "prompt" not in columns:
        _refuse(path, rows, _implicit_prompt)


def _refuse(path: Path, rows: dict[int, Row], complain: Callable[[Row], str]) -> None:
    complaints: dict[str, list[int]] = {}
    for number, row in rows.items():
        if complaint := complain(row):
            complaints.setdefault(complaint, []).append(number)
    if complaints:
        raise DataError(
            f"{path}: " + "; ".join(f"{numbers(rows)}: {text}" for text, rows in complaints.items())
        )


def _complaint(column: str, row: Row) -> str:
    value = row[column]
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        return f"column '{column}' is empty"
    if column == "answer":
        plain = isinstance(value, str | int | float)
        return "" if plain else "column 'answer' must be text or a number"
    if isinstance(value, str):
        return "column 'messages' must be a list of messages" if column == "messages" else ""
    if not isinstance(value, list) or not all(_is_message(one) for one in value):
        return (
            f"column '{column}' must be text or a list of "
            f"{{role, content}} messages with role {', '.join(ROLES)}"
        )
    return _wrong_turns(column, [message["role"] for message in value])


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("role") in ROLES
        and isinstance(value.get("content"), str)
    )


def _wrong_turns(column: str, roles: list[str]) -> str:
    if column == "prompt":
        return "" if roles[-1] != "assistant" else "column 'prompt' ends with the assistant's turn"
    if roles[-1] != "assistant":
        return f"column '{column}' must end with the assistant's turn"
    if column == "messages" and len(roles) < 2:
        return "column 'messages' needs a turn before the assistant's"
    return ""


def _implicit_prompt(row: Row) -> str:
    if isinstance(row["chosen"], str):
        return "chosen and rejected are plain text, so a column 'prompt' is needed"
    shared = row["chosen"][:-1] == row["rejected"][:-1] and len(row["chosen"]) > 1
    return "" if shared else "chosen and rejected must share all messages but the last"


def _prompt(row: Row) -> str:
    if "prompt" in row:
        return json.dumps(row["prompt"], sort_keys=True)
    return json.dumps(row.get("messages", row.get("chosen"))[:-1], sort_keys=True)  # type: ignore[index]


def _text(value: Any) -> int:
    if isinstance(value, list):
        return sum(len(message["content"]) for message in value)
    return len(str(value))


def _length(row: Row) -> int:
    answers = [
        _text(row[column]) for column in ("completion", "chosen", "rejected") if column in row
    ]
    return _text(row.get("prompt", "")) + _text(row.get("messages", "")) + max(answers, default=0)


def _answer_length(row: Row) -> int:
    answers = [row[column] for column in ("completion", "chosen", "rejected") if column in row]
    if "messages" in row:
        answers.append(row["messages"][-1:])
    return max((_text(one[-1:] if isinstance(one, list) else one) for one in answers), default=0)


def _most(lengths: Iterator[int]) -> int:
    """The 95th percentile."""
    ordered = sorted(lengths)
    return ordered[int(0.95 * (len(ordered) - 1))]
