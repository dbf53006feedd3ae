"""What a trial's process warns of, for the driver, which shows it to a person."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

#: Loggers of this program and of the libraries that train.
_LOGGERS = ("align", "transformers", "trl", "peft", "accelerate", "datasets")
#: Python warnings that are for programmers.
_FOR_PROGRAMMERS = (DeprecationWarning, FutureWarning, PendingDeprecationWarning, ResourceWarning)
#: The most warnings of a step, and their length in characters.
MOST, LENGTH = 10, 300


@contextmanager
def collect_warnings(secrets: Mapping[str, bytes]) -> Iterator[list[str]]:
    """Collect what is logged as a warning or worse, and Python's warnings, until the block ends.

    The list grows as they come: each text once, in a single line, shortened, at most MOST. Values
    of `secrets` (by variable) are replaced by the variable's name. Logs and warnings go on to where
    they went before.
    """
    texts: list[str] = []

    def add(text: str) -> None:
        for name, value in secrets.items():
            text = text.replace(value.decode(errors="replace"), f"<{name}>")
        text = " ".join(text.split())
        shortened = text if len(text) <= LENGTH else f"{text[: LENGTH - 1]}…"
        if shortened and shortened not in texts and len(texts) < MOST:
            texts.append(shortened)

    handler, show = _Handler(add), warnings.showwarning

    def showwarning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, _FOR_PROGRAMMERS):
            add(str(message))
        show(message, category, filename, lineno, file, line)

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    warnings.showwarning = showwarning
    try:
        yield texts
    finally:
        warnings.showwarning = show
        for logger in loggers:
            logger.removeHandler(handler)


class _Handler(logging.Handler):
    """Hands the messages of records on, without their tracebacks."""

    def __init__(self, add: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._add = add

    def emit(self, record: logging.LogRecord) -> None:
        self._add(record.getMessage())
