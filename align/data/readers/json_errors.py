"""Why a text is not JSON, and the nearest way to mend it."""

from __future__ import annotations

import ast
import json

from align.data.row_numbers import shortened

#: Texts above this length are not tried as Python, which costs much memory.
_LONGEST = 100_000


def explained(error: Exception, text: str) -> str:
    """One phrase about an error of json's decoder on `text`, such as `not JSON (…): {'a…`."""
    if isinstance(error, RecursionError):
        return "nested too deep to be read"
    if not isinstance(error, json.JSONDecodeError):  # Python's limit of digits
        return "holds an integer of more digits than can be read; write it as text"
    start = max(error.pos - 30, 0) if len(text) > 60 else 0
    hint = _hint(error, text)
    return (
        f"not JSON ({error.msg} in column {error.colno}): "
        f"{shortened(text[start : start + 60].strip())}{'; ' if hint else ''}{hint}"
    )


def _hint(error: json.JSONDecodeError, text: str) -> str:
    before, after = text[: error.pos].rstrip(), text[error.pos :].strip()
    if "\0" in text:
        return "it holds NUL bytes: the file is damaged or no text"
    if error.msg.startswith("Unterminated string") or text[error.pos : error.pos + 1] == "\n":
        return "a text does not end on its line: a cut line, or a newline to be written as \\n"
    if error.msg.startswith("Invalid control character"):
        escaped = json.dumps(text[error.pos])[1:-1]
        return f"write the control character within the text as {escaped}"
    if error.msg.startswith("Invalid \\"):
        return "double each backslash that belongs to a text"
    if error.msg.startswith("Extra data"):
        return _after_a_value(after)
    if before.endswith(",") and after[:1] in ("}", "]"):
        return "leave out the comma before the closing bracket"
    if not after:
        return "it ends too early: is the file cut?"
    if _is_python(text):
        return "this is Python's repr: write rows by json.dumps"
    if before.endswith("}") and after.startswith(","):
        return "leave out commas between objects, or put all of them into brackets [ ]"
    if not text.lstrip().startswith(("{", "[")) and ("," in text or "\t" in text):
        return "if this is CSV, give the file the suffix .csv"
    return ""


def _after_a_value(after: str) -> str:
    if after == ",":
        return "leave out the comma after the object"
    if after.startswith("{"):
        return "put each object on a line of its own"
    if after[:1] in (",", "\t", ";"):
        return "if this is CSV, give the file the suffix .csv"
    return "nothing may follow the object on its line"


def _is_python(text: str) -> bool:
    if len(text) > _LONGEST:
        return False
    try:
        return isinstance(ast.literal_eval(text.strip().rstrip(",")), dict | list)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
