"""Answers that are expressions, compared by math-verify where it is installed."""

from __future__ import annotations

import logging
import re
import threading
from importlib.util import find_spec
from typing import Any

from align.errors import RecipeError

_COMMAND = re.compile(r"\\[A-Za-z]+")
_OPERATOR = re.compile(r"\\[A-Za-z]|[\^*/+=({]|[A-Za-z]\s*-|-\s*[A-Za-z]")
_WORD = re.compile(r"[A-Za-z]{2,}")
_FUNCTIONS = re.compile(r"\b(?:sqrt|pi|sin|cos|tan|log|ln|exp)\b")
_DELIMITED = re.compile(r"\$|\\boxed|\\\(|\\\[")
_LONGEST = 200


def is_expression(answer: str) -> bool:
    r"""Whether an answer is more than a number: `\frac{1}{2}`, `3/4`, `x^2+1`; not `7 apples`."""
    if len(answer) > _LONGEST or not _OPERATOR.search(answer):
        return False
    return not _WORD.search(_FUNCTIONS.sub("", _COMMAND.sub("", answer)))


def installed() -> bool:
    """Whether math-verify can be imported."""
    return find_spec("math_verify") is not None


def check_installed(asked_by: str) -> None:
    """RecipeError unless math-verify is installed; it names `asked_by` and the extra."""
    if not installed():
        raise RecipeError(
            f"{asked_by} needs math-verify, which is not installed: pip install 'alignery[math]'"
        )


def equal(text: str, answer: str) -> bool:
    """Whether the text's final expression equals the answer.

    RecipeError if math-verify is not installed, ValueError if it cannot read the answer.
    """
    check_installed("reading an answer as mathematics")
    from math_verify import verify

    gold = _parsed(answer if _DELIMITED.search(answer) else f"${answer}$")
    if not gold:
        raise ValueError(f"the answer {answer!r} cannot be read as mathematics")
    return bool(verify(gold, _parsed(text), timeout_seconds=_seconds(5)))


def _parsed(text: str) -> list[Any]:
    from math_verify import parse

    parsed: list[Any] = parse(text, parsing_timeout=_seconds(10))
    return parsed


def _seconds(limit: int) -> int | None:
    """The time limit; None outside the main thread, where math-verify cannot enforce it."""
    if threading.current_thread() is threading.main_thread():
        return limit
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # else it warns at every call
    return None
