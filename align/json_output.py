"""JSON as the commands print it: the option `--json` and its output."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
#: Of commands that also show how far they are.
JsonObjectOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout; progress on stderr.")
]


def print_json(value: Any) -> None:
    """Print a JSON value on stdout, indented; times as ISO 8601.

    TypeError for a value that JSON does not have.
    """
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_iso))


def _iso(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON value")
