"""Completions to try rewards on: written by the engine, or from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.data.user_rows import Row, read_rows
from align.errors import DataError

if TYPE_CHECKING:
    from align.inference.types import Engine


@dataclass(frozen=True)
class Sample:
    """One completion of a row's prompt; `columns` are the row's others, `truncated` if it was cut.

    `truncated` is None where nobody knows.
    """

    prompt: list[dict[str, str]]
    text: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    truncated: bool | None = None


def grouped(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Completions of one prompt together; the same prompt's stand in a row."""
    return [list(group) for _, group in groupby(samples, key=lambda one: _key(one.prompt))]


def read_samples(path: Path) -> list[Sample]:
    """Rows with `prompt` and `completion`, texts or messages; the other columns go to the rewards.

    Rows of one prompt come together, in the order of its first. DataError names the row.
    """
    samples = [_sample(row, f"{path}: row {number}") for number, row in read_rows(path).items()]
    first = {key: at for at, key in reversed(list(enumerate(_key(one.prompt) for one in samples)))}
    return sorted(samples, key=lambda one: first[_key(one.prompt)])


def write_samples(
    engine: Engine,
    rows: Sequence[Row],
    *,
    count: int,
    adapter: str | None,
    temperature: float,
    max_new_tokens: int,
    seed: int,
) -> list[Sample]:
    """`count` completions of each row's prompt, by an adapter that the engine has loaded."""
    from align.inference.types import GenerationRequest

    requests = [
        GenerationRequest(
            engine.tokenize_chat(row["prompt"]),
            adapter,
            max_new_tokens,
            n=count,
            temperature=temperature,
            seed=seed + at * count,
        )
        for at, row in enumerate(rows)
    ]
    done = iter(engine.generate(requests))
    return [
        Sample(
            row["prompt"],
            one.text,
            {name: value for name, value in row.items() if name not in ("prompt", "completion")},
            one.finish_reason == "length",
        )
        for row in rows
        for one in (next(done) for _ in range(count))
    ]


def _sample(row: Row, where: str) -> Sample:
    if missing := [name for name in ("prompt", "completion") if row.get(name) is None]:
        raise DataError(
            f"{where} has no {' and no '.join(missing)}; needed are prompt and completion (texts "
            f"or messages) and what the rewards ask for; found {', '.join(sorted(row))}"
        )
    columns = {name: value for name, value in row.items() if name not in ("prompt", "completion")}
    return Sample(_messages(row["prompt"], where), _text(row["completion"], where), columns)


def _messages(value: Any, where: str) -> list[dict[str, str]]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, list) and all(
        isinstance(turn, dict) and isinstance(turn.get("content"), str) for turn in value
    ):
        return value
    raise DataError(f"{where}: column 'prompt' must be a text or a list of messages")


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        return str(value[-1].get("content", ""))
    raise DataError(f"{where}: column 'completion' must be a text or a list of messages")


def _key(prompt: list[dict[str, str]]) -> str:
    return json.dumps(prompt, sort_keys=True)
