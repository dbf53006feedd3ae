"""Rows of a user's file or a hub dataset in TRL's conversational form, and their splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from align.chat_tools import with_tools
from align.data.conversion.labels import as_label
from align.data.conversion.table import Table, convert
from align.data.formats import FORMATS, format_for
from align.data.numbered_rows import NumberedRow
from align.data.problems import Split
from align.data.prompts import prompt_key
from align.data.readers.tables import table_rows
from align.data.row_validation import check_rows, plain_prompt
from align.data.user_rows import Row, numbers, read_rows
from align.errors import DataError
from align.methods import METHODS, MethodName
from align.recipe import DataConfig

Messages = list[dict[str, str]]
_ANSWERS = ("completion", "chosen", "rejected")
_OWN = {"tools", *(column for data_format in FORMATS for column in data_format.columns)}


def source_of(data: DataConfig) -> str:
    """The name of the file, or of the dataset and its split, in messages."""
    return data.path or f"dataset '{data.dataset}' (split '{data.split}')"


def read(data: DataConfig) -> Table:
    """The rows by number, in TRL's columns; rows of a dataset are counted from 1.

    DataError if the file or dataset cannot be read, or if rows cannot be read as they are meant.
    """
    columns = tuple((data.columns or {}).items())
    return _read(data.path, data.dataset, data.split, columns, stamp(data))


def stamp(data: DataConfig) -> tuple[int, int] | None:
    """A file's modification time (ns) and size (bytes), as a cache key; None if it is no file."""
    if data.path is None or not Path(data.path).is_file():
        return None
    status = Path(data.path).stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4)
def _read(
    path: str | None,
    dataset: str | None,
    split: str,
    columns: tuple[tuple[str, str], ...],
    stamp: tuple[int, int] | None,
) -> Table:
    data = DataConfig(path=path, dataset=dataset, split=split)
    rows = _downloaded(data) if path is None else read_rows(Path(path))
    return convert(source_of(data), rows, dict(columns))


def _downloaded(data: DataConfig) -> dict[int, Row]:
    from datasets import load_dataset

    try:
        table = load_dataset(data.dataset, split=data.split).with_format("arrow")[:]
    except Exception as error:  # datasets raises many types of errors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise DataError(
            f"{source_of(data)} cannot be read: {reason}. "
            "Is the hub reachable, or name a local file with data.path"
        ) from None
    return table_rows(source_of(data), table)


def check_columns(data: DataConfig, columns: tuple[str, ...], why: str) -> None:
    """DataError if a row has no value in one of `columns`; `why` names what needs them."""
    table = read(data)
    rows = table.rows
    for column in columns:
        without = [n for n, row in rows.items() if row.get(column) is None or row[column] == ""]
        if without:
            problem = (
                "no row has" if len(without) == len(rows) else f"{numbers(without)}: nothing in"
            )
            raise DataError(
                f"{source_of(data)}: {problem} column '{table.named(column)}', and {why} needs it"
            )


def conversational(table: Table, method: MethodName, source: str) -> list[Row]:
    """Rows in TRL's conversational form with an explicit prompt.

    For kto a pair becomes two rows, with a good and a bad answer. DataError names missing and
    present columns, or the rows that are incomplete.
    """
    if not table.rows:
        return []
    columns = format_for(method, source, table).columns
    answer_columns = ("answer",) if "answer" in table.columns else ()
    _check_tools(table, method, source)
    checked = (*columns, *answer_columns)
    check_rows(source, table.rows, checked, optional=answer_columns, origins=table.origins)
    return [
        NumberedRow(converted, number)
        for number, row in table.rows.items()
        for converted in _converted(row, columns, method)
    ]


def _check_tools(table: Table, method: MethodName, source: str) -> None:
    having = [number for number, row in table.rows.items() if row.get("tools")]
    if having and not METHODS[method].renders_tools:
        raise DataError(
            f"{source}: {numbers(having)}: column '{table.named('tools')}' holds tools, which "
            f"{method} would not show to the model: TRL's trainer does not render them; write them "
            "into the system turn, leave the rows out, or train with another method"
        )


def _converted(row: Row, columns: tuple[str, ...], method: MethodName) -> Iterator[Row]:
    parts = _parts(row, columns)
    if row.get("answer") not in (None, ""):
        parts["answer"] = str(row["answer"])
    if METHODS[method].answerable:
        # Evaluation uses these rows, and a reward of the user's own may need any column.
        parts |= {name: value for name, value in row.items() if name not in _OWN}
    if row.get("tools"):
        parts["prompt"] = with_tools(parts["prompt"], row["tools"])
    if "label" in columns:
        parts["label"] = as_label(row["label"])
    yield from METHODS[method].rows(parts)


def _parts(row: Row, columns: tuple[str, ...]) -> Row:
    if columns == ("messages",):
        return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}
    if "prompt" not in row:
        return _implicit(row)
    prompt = _turns(row["prompt"], "user")
    parts: Row = {"prompt": prompt}
    for column in columns:
        if column in _ANSWERS:
            turns, head = _turns(row[column], "assistant"), len(prompt)
            parts[column] = turns[head:] if turns[:head] == prompt else turns
    return parts


def _implicit(row: Row) -> Row:
    """The common beginning of chosen and rejected is the prompt, as in TRL."""
    if isinstance(row["chosen"], str):
        prefix = plain_prompt(row)
        answers = {side: _turns(row[side][len(prefix) :], "assistant") for side in _ANSWERS[1:]}
        return {"prompt": _turns(prefix.rstrip(), "user"), **answers}
    return {"prompt": row["chosen"][:-1], **{side: row[side][-1:] for side in _ANSWERS[1:]}}


def _turns(value: Any, role: str) -> Messages:
    return [{"role": role, "content": value}] if isinstance(value, str) else list(value)


def cut(rows: list[Row], data: DataConfig, split: Split, source: str) -> list[Row]:
    """A split's rows, in the order of their prompts' hashes; a prompt is in one split only."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(prompt_key(row["prompt"]), []).append(row)
    order = sorted(groups, key=lambda key: hashlib.sha256(f"{data.seed} {key}".encode()).digest())
    sizes = {"test": data.test, "validation": data.validation, "train": data.train}
    keys, parts = iter(order), {}
    for name, size in sizes.items():
        part: list[Row] = []
        while len(part) < size and (key := next(keys, None)) is not None:
            part += groups[key]
        parts[name] = part[:size]
    if any(len(parts[name]) < size for name, size in sizes.items()):
        raise DataError(_too_few(len(rows), len(groups), sizes, source))
    return parts["test" if split == "live" else split]


def _too_few(rows: int, prompts: int, sizes: dict[str, int], source: str) -> str:
    needed = " + ".join(f"{name} {size}" for name, size in sizes.items())
    if not rows:
        return f"{source}: no rows; {needed} = {sum(sizes.values())} are needed"
    count = f"{rows} rows with {prompts} different prompts are" if rows > 1 else "1 row is"
    least = "" if prompts >= len(sizes) else f", and at least {len(sizes)} prompts are needed"
    return (
        f"{source}: {count} too few for {needed} = {sum(sizes.values())} without a prompt in two "
        f"of them{least}: add rows, or lower these numbers in the recipe's data"
    )


def mixed(rows: list[Row], seed: int) -> list[Row]:
    """The rows in the order of their own hashes, which separates answers to the same prompt."""

    def place(row: Row) -> bytes:
        return hashlib.sha256(f"{seed} {json.dumps(row, sort_keys=True)}".encode()).digest()

    return sorted(rows, key=place)
