"""TRL's data formats: how they are recognised, and which methods train on them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align.data.conversion.column_map import as_field, proposed
from align.data.conversion.converted_rows import ConvertedRows, convert
from align.data.conversion.labels import as_label
from align.data.prompts import prompt_key
from align.data.row_validation import check_rows, plain_prompt
from align.data.user_rows import Row, numbers, read_rows
from align.errors import DataError
from align.methods import METHODS, MethodName


@dataclass(frozen=True)
class DataFormat:
    """A data format: its name and columns; `advice` is given where no stage is drafted."""

    name: str
    columns: tuple[str, ...]
    advice: str = ""

    @property
    def drafts(self) -> tuple[MethodName, ...]:
        """The methods of the stages that `recipe new` drafts for it."""
        return tuple(name for name, method in METHODS.items() if self.name in method.drafted_from)


#: Formats by TRL's names. A method reads rows in the first of its formats whose columns exist. For
#: `recipe new`, a format hides later formats whose columns it contains.
FORMATS = (
    DataFormat("unpaired preference", ("prompt", "completion", "label")),
    DataFormat("prompt-completion", ("prompt", "completion")),
    DataFormat("conversations", ("messages",)),
    DataFormat("preference", ("chosen", "rejected")),
    DataFormat("prompt with answer", ("prompt", "answer")),
    DataFormat(
        "language modelling",
        ("text",),
        advice="stages train on answers to prompts; split the text into prompt and completion",
    ),
    DataFormat(
        "prompt only",
        ("prompt",),
        advice="GRPO needs an answer column to check completions against, or a recipe of your "
        "own whose rewards need none (format, length, a reward model, python)",
    ),
)
#: The fewest different prompts that suffice to train, compare and test on.
MIN_PROMPTS = 10


def format_for(method: MethodName, source: str, table: ConvertedRows) -> DataFormat:
    """The format in which a stage of this method reads the rows. DataError if there is none.

    `source` begins the message.
    """
    columns = set(table.columns)
    usable = [candidate for candidate in FORMATS if candidate.name in METHODS[method].formats]
    data_format = next(
        (candidate for candidate in usable if set(candidate.columns) <= columns), None
    )
    if data_format is None:
        # Formats that contain another usable format's columns are not listed.
        allowed = [
            " + ".join(candidate.columns)
            for candidate in usable
            if not any(set(other.columns) < set(candidate.columns) for other in usable)
        ]
        mapped = proposed(table.rows, columns)
        fits = any(set(candidate.columns) <= mapped.keys() for candidate in usable)
        advice = f"; in the recipe, {as_field(mapped)} reads them" if fits else ""
        raise DataError(
            f"{source}: {method} needs the columns {' or '.join(allowed)}; "
            f"found {', '.join(sorted(table.named(column) for column in columns))}{advice}"
        )
    if data_format.name == "preference" and (mapped := _prompt_column(table)):
        raise DataError(
            f"{source}: chosen and rejected begin apart, so a prompt is needed; in the recipe, "
            f"{as_field(mapped)} names it"
        )
    if METHODS[method].imitates and "completion" in data_format.columns and "label" in columns:
        bad = [number for number, row in table.rows.items() if as_label(row["label"]) is False]
        if bad:
            raise DataError(
                f"{source}: {numbers(bad)}: {table.named('label')} is false, and {method} would "
                "imitate that answer; leave such rows out, train with kto, or rename the column"
            )
    return data_format


@dataclass(frozen=True)
class Findings:
    """What a data file contains.

    `prompts` counts different prompts, `repeats` the rows of the most frequent prompt. `characters`
    is the 95th percentile of the rows' lengths, prompt included; `answer_characters` that of the
    longest answer in each row (0 if the file has no answers). `form` names the foreign form of the
    rows, empty for TRL's own; `mapping` is the proposed `data.columns` of a recipe, and `notes`
    are sentences about rows that are left out. `used` are the file's columns that are read.
    """

    path: Path
    rows: int
    columns: tuple[str, ...]
    formats: tuple[DataFormat, ...]
    prompts: int
    repeats: int
    characters: int
    answer_characters: int
    form: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    used: frozenset[str] = frozenset()

    @property
    def methods(self) -> tuple[MethodName, ...]:
        """The methods of the stages that `recipe new` drafts, in their order."""
        allowed = {method for data_format in self.formats for method in data_format.drafts}
        return tuple(method for method in METHODS if method in allowed)

    @property
    def trainable(self) -> tuple[MethodName, ...]:
        """All methods that can train on the file, in their order."""
        names = {data_format.name for data_format in self.formats}
        return tuple(
            name for name, method in METHODS.items() if not names.isdisjoint(method.formats)
        )

    @property
    def ignored(self) -> tuple[str, ...]:
        """Columns that no format uses."""
        used = {"prompt", *self.used, *self.mapping.values()} | {
            column for data_format in self.formats for column in data_format.columns
        }
        return tuple(column for column in self.columns if column not in used)


def inspect_file(path: Path) -> Findings:
    """Read a data file of any kind and recognise its formats.

    DataError names the malformed rows, the file's columns and the allowed columns, or why a
    recognised format cannot be used.
    """
    given = read_rows(path)
    if not given:
        raise DataError(f"{path}: no rows; at least {MIN_PROMPTS} different prompts are needed")
    table, mapping = _table(path, given)
    rows = table.rows
    formats = _checkable(path, rows, _recognise(path, table))
    names = {column for data_format in formats for column in data_format.columns}
    check_rows(str(path), rows, names, origins=table.origins)
    prompts = Counter(_prompt(row) for row in rows.values())
    return Findings(
        path=path,
        rows=len(rows),
        columns=tuple(next(iter(given.values()))),
        formats=formats,
        prompts=len(prompts),
        repeats=max(prompts.values()),
        characters=_most(_length(row) for row in rows.values()),
        answer_characters=_most(_answer_length(row) for row in rows.values()),
        form=table.form,
        mapping=mapping,
        notes=table.notes,
        used=table.read,
    )


def _table(path: Path, rows: dict[int, Row]) -> tuple[ConvertedRows, dict[str, str]]:
    """The rows in TRL's columns, and the names of columns that had to be guessed for it."""
    table = convert(str(path), rows)
    guessed = _prompt_column(table)
    if not guessed and any(match.drafts for match in _matches(table.columns)):
        return table, {}
    guessed = guessed or proposed(rows, set(next(iter(rows.values()))))
    mapping = {ours: theirs for ours, theirs in guessed.items() if ours != theirs}
    return (convert(str(path), rows, mapping), mapping) if mapping else (table, {})


def _prompt_column(table: ConvertedRows) -> dict[str, str]:
    """The names of columns by which pairs without a common beginning have a prompt; else empty."""
    columns = set(table.columns)
    if "prompt" in columns or not {"chosen", "rejected"} <= columns:
        return {}
    sides = ((row["chosen"], row["rejected"], row) for row in table.rows.values())
    apart = any(
        isinstance(chosen, str) and isinstance(rejected, str) and not plain_prompt(row).strip()
        for chosen, rejected, row in sides
    )
    mapped = proposed(table.rows, columns) if apart else {}
    return mapped if "prompt" in mapped else {}


def _matches(columns: Iterable[str]) -> list[DataFormat]:
    """The formats whose columns exist, without those that an earlier match contains."""
    matches: list[DataFormat] = []
    for candidate in FORMATS:
        hidden = any(set(candidate.columns) <= set(other.columns) for other in matches)
        if set(candidate.columns) <= set(columns) and not hidden:
            matches.append(candidate)
    return matches


def _recognise(path: Path, table: ConvertedRows) -> tuple[DataFormat, ...]:
    columns = set(table.columns)
    if "label" in columns and all(as_label(row["label"]) for row in table.rows.values()):
        columns.remove("label")  # only good answers: nothing to tell apart, all to imitate
    matches = _matches(columns)
    usable = tuple(match for match in matches if match.drafts)
    if usable:
        return usable
    if matches:
        raise DataError(f"{path}: {matches[0].name}: {matches[0].advice}")
    allowed = "; ".join(" + ".join(candidate.columns) for candidate in FORMATS if candidate.drafts)
    raise DataError(
        f"{path}: the columns {', '.join(table.columns)} are none of TRL's formats; allowed: "
        f"{allowed}, which data.columns of a recipe can name, such as "
        "{prompt: QUESTION, completion: REPLY}"
    )


def _checkable(
    path: Path, rows: dict[int, Row], formats: tuple[DataFormat, ...]
) -> tuple[DataFormat, ...]:
    """Formats without `answer` if an answer has no number. DataError if no format is left."""
    without = [n for n, row in rows.items() if not re.search(r"\d", str(row.get("answer", 0)))]
    remaining = tuple(data_format for data_format in formats if "answer" not in data_format.columns)
    if not without or remaining == formats:
        return formats
    if not remaining:
        raise DataError(
            f"{path}: {numbers(without)}: column 'answer' holds no number, and the reward "
            "'correctness' compares the last numbers of completion and answer"
        )
    return remaining


def _prompt(row: Row) -> str:
    if "prompt" in row:
        return prompt_key(row["prompt"])
    if isinstance(row.get("chosen"), str):
        return prompt_key(plain_prompt(row))
    return prompt_key((row["messages"] if "messages" in row else row["chosen"])[:-1])


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
    return max(
        (_text(answer[-1:] if isinstance(answer, list) else answer) for answer in answers),
        default=0,
    )


def _most(lengths: Iterator[int]) -> int:
    """The 95th percentile."""
    ordered = sorted(lengths)
    return ordered[int(0.95 * (len(ordered) - 1))]
