"""Conversational rows of every format, and files of them."""

import json
from pathlib import Path
from typing import Any

ASK = [{"role": "user", "content": "What is 2 + 3?"}]
SAY = [{"role": "assistant", "content": "2 + 3 = 5"}]
Row = dict[str, Any]


def ask(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"What is {number} + 3?"}]


def row(number: int, *columns: str) -> Row:
    """A conversational row; every number has a prompt of its own."""
    values: Row = {
        "prompt": ask(number),
        "completion": SAY,
        "chosen": SAY,
        "rejected": [{"role": "assistant", "content": "6"}],
        "answer": "5",
        "messages": ask(number) + SAY,
        "text": "some prose",
        "label": True,
        "source": "forum",
    }
    return {column: values[column] for column in columns}


def jsonl(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def rows(*columns: str, count: int = 40) -> list[Row]:
    return [row(number, *columns) for number in range(count)]
