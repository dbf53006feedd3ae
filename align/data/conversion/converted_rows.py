"""Rows of a file or dataset in TRL's columns, whatever form they came in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from align.data.conversion.alpaca import alpaca
from align.data.conversion.column_map import renamed
from align.data.conversion.conversations import conversations
from align.data.conversion.form import Form, LeftOut, Row, Rows, first_value
from align.data.conversion.labels import label_column, unmixed
from align.data.conversion.messages import SYSTEMS, messages_of, trained_part, with_system
from align.data.conversion.openai import openai_preference
from align.data.conversion.rated_answers import PAIR_RATINGS, check_pair_ratings, rated_answers
from align.data.conversion.tools import tools_of
from align.data.conversion.transcripts import transcripts
from align.data.conversion.values import UnreadableValue, is_empty, optional_text, parsed
from align.data.conversion.written_messages import are_written_messages, unwritten
from align.data.row_numbers import numbers, shortened
from align.errors import DataError

_TURNS = ("prompt", "completion", "chosen", "rejected")
_TOOLS = ("tools", "functions")
#: Columns of what a language model does not read.
_MEDIA = ("images", "image", "videos", "video", "audios", "audio")
#: The number of different complaints that a message lists.
_MOST = 5


@dataclass(frozen=True)
class ConvertedRows:
    """Rows by number in TRL's columns, plain or conversational.

    `form` names the foreign form that they came in, empty for TRL's own. `origins` gives the file's
    column for each of TRL's that has another name there. `notes` are sentences about rows that are
    left out, and `read` the file's columns that the conversion reads.
    """

    rows: dict[int, Row]
    form: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    read: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the rows; empty without rows."""
        return tuple(next(iter(self.rows.values()), {}))

    def named(self, column: str) -> str:
        """The file's name of one of TRL's columns."""
        return self.origins.get(column, column)


def convert(
    source: str, rows: dict[int, Row], columns: Mapping[str, str] | None = None
) -> ConvertedRows:
    """The rows of a file in TRL's columns. `columns` is the recipe's `data.columns`.

    DataError names the rows that cannot be read as they are meant, with the file's own column and
    the value; `source` begins the message.
    """
    mapped = dict(columns or {})
    rows = renamed(source, rows, mapped)
    present = {
        name
        for name in next(iter(rows.values()), {})
        if any(row.get(name) is not None for row in rows.values())
    }
    label = label_column(rows, present)
    form = _form(rows, present, label)
    finish = _Finish(rows, present, form, label)
    problems = _Problems()
    if finish.label:
        problems.guard(0, partial(unmixed, rows, finish.label))
    converted = {
        number: row
        for number, given in rows.items()
        if (row := problems.guard(number, partial(finish, given))) is not None
    }
    problems.raise_if_any(source, mapped)
    if rows and not converted:
        raise DataError(f"{source}: no row is left: {'; '.join(problems.notes(len(rows)))}")
    origins = {**finish.origins, **mapped}
    notes = tuple(problems.notes(len(rows)))
    return ConvertedRows(converted, form.name if form else "", origins, notes, finish.read)


def _form(rows: Rows, columns: set[str], label: str) -> Form | None:
    return (
        openai_preference(columns)
        or rated_answers(rows, columns)
        or conversations(rows, columns, label)
        or alpaca(columns)
        or transcripts(rows, columns)
    )


class _Finish:
    """The conversion of a row: its form's, then system text, tools and label."""

    def __init__(self, rows: Rows, columns: set[str], form: Form | None, label: str):
        self._form = form
        origins = form.origins if form else {}
        labelled, answered = "label" in origins, "completion" in {*columns, *origins}
        #: The column with labels of answers; empty where rows have no answer to judge.
        self.label = label if labelled or answered else ""
        self._label = "" if labelled else self.label
        # A label of something else, such as a class, is none of an answer.
        dropped = {"label"} if answered and label != "label" else set()
        self._dropped = {*(form.used if form else ()), *dropped}
        self._system = next((name for name in SYSTEMS if name in columns), "")
        tools = (name for name in _TOOLS if name in columns)
        self._tools = next((name for name in tools if name == "tools" or _lists(rows, name)), "")
        self._rated = any(set(pair) <= columns for pair in PAIR_RATINGS)
        self._media = [name for name in _MEDIA if name in columns]
        self._turns = [name for name in _TURNS if form is not None or name in columns]
        self._written = {name for name in self._turns if are_written_messages(rows, name)}
        self.origins = {**origins}
        if self._label:
            self.origins["label"] = self._label
        named = {self._system, self._tools, self._label} - {""}
        self.read = (form.used if form else frozenset()) | named

    def __call__(self, row: Row) -> Row:
        for column in self._media:
            if not is_empty(row[column]):
                raise UnreadableValue(
                    f"column '{column}' is not empty, and only text is trained on; leave the row "
                    "out",
                    row[column],
                )
        if self._form is not None:
            form = self._form
            others = {name: row[name] for name in row if name not in self._dropped}
            row = {**others, **form.convert(row)}
        else:
            row = dict(row)
        if self._rated:
            check_pair_ratings(row)
        if self._label and self._label != "label":
            row["label"] = row.pop(self._label)
        self._read_turns(row)
        self._move_tools(row)
        self._add_system(row)
        if self._tools or "tools" in row:
            row["tools"] = tools_of(self._tools or "tools", row.get("tools", row.get(self._tools)))
        return row

    def _read_turns(self, row: Row) -> None:
        for column in self._turns:
            value = row.get(column)
            if column in self._written and not is_empty(value):
                value = unwritten(self.origins.get(column, column), value)
            if isinstance(value, list | dict) and value:
                turns = messages_of(self.origins.get(column, column), value)
                row[column] = trained_part(column, turns) if column == "completion" else turns

    def _move_tools(self, row: Row) -> None:
        """Take the tools that stand in a message, as some write them, for the row's."""
        for column in ("messages", *_TURNS):
            turns = row.get(column)
            if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
                continue
            if given := [turn["tools"] for turn in turns if turn.get("tools")]:
                row[column] = [
                    {name: part for name, part in turn.items() if name != "tools"} for turn in turns
                ]
                if is_empty(row.get("tools")):
                    row["tools"] = given[0]

    def _add_system(self, row: Row) -> None:
        if not self._system:
            return
        system = optional_text(self._system, row[self._system])
        names = ("prompt",) if "prompt" in row else ("messages", "chosen", "rejected")
        for name in names:
            value = row.get(name)
            if isinstance(value, str) and name == "prompt" and value.strip():
                value = [{"role": "user", "content": value}]
            if isinstance(value, list) and value:
                row[name] = with_system(value, system)


def _lists(rows: Rows, column: str) -> bool:
    """Whether a column holds lists or objects, perhaps as JSON text."""
    return isinstance(parsed(first_value(rows, column)), list | Mapping)


class _Problems:
    """Problems of values and rows that are left out, grouped by what is the matter."""

    def __init__(self) -> None:
        self._wrong: dict[str, tuple[list[int], Any]] = {}
        self._left_out: dict[str, list[int]] = {}

    def guard(self, number: int, convert: Callable[[], Any]) -> Any:
        """The result of `convert`; None, with the row's number noted, if the row has none."""
        try:
            return convert()
        except UnreadableValue as problem:
            self._wrong.setdefault(problem.text, ([], problem.value))[0].append(number)
        except LeftOut as reason:
            self._left_out.setdefault(str(reason), []).append(number)
        return None

    def raise_if_any(self, source: str, mapped: Mapping[str, str]) -> None:
        """DataError with the rows that cannot be read, by the file's names of their columns."""
        complaints = []
        for text, (rows, value) in list(self._wrong.items())[:_MOST]:
            for ours, theirs in mapped.items():
                text = text.replace(f"column '{ours}'", f"column '{theirs}'")
            where = f"{numbers(rows)}: " if rows != [0] else ""
            complaints.append(f"{where}{text}; got {shortened(value)}")
        if complaints:
            raise DataError(f"{source}: {'; '.join(complaints)}")

    def notes(self, rows: int) -> list[str]:
        """A sentence for each reason for which rows are left out."""
        return [
            f"{len(left_out)} of {rows} rows {reason}: {numbers(left_out)}"
            for reason, left_out in self._left_out.items()
        ]
