"""The checks as they are seen while they run: a line each, with figures and the time left."""

from __future__ import annotations

import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from align.gpu_check.run import Result

_COLOURS = {"PASS": "green", "FAIL": "bold red", "SKIP": "yellow"}
#: Columns of the verdict and of the name.
_VERDICT, _NAME = 6, 11
_WIDTH = 100


class Report:
    """Prints results on a console. On a terminal the running check is shown with the time left."""

    def __init__(self, console: Console, total: int):
        self._console, self._total, self._done = console, total, 0
        self._running = ExitStack()

    def start(self, name: str, left: float) -> None:
        """A check begins. Nothing is printed where there is no terminal."""
        if self._console.is_terminal:
            text = f"{self._done + 1}/{self._total} {name}, {_about(left)}"
            self._running.enter_context(self._console.status(text))

    def result(self, result: Result, left: float) -> None:
        """A check has ended."""
        self._running.close()
        self._done += 1
        verdict = result.outcome.verdict
        head = f"{verdict:<{_VERDICT}}{result.name:<{_NAME}}"
        ending = f" ({self._when(result.seconds, left)})"
        line = Text(self._wrapped(f"{head}{result.outcome.sentence}{ending}"))
        line.stylize(_COLOURS[verdict], 0, len(verdict))
        self._console.print(line, soft_wrap=True)

    def end(self, plain: dict[str, Any], file: Path | None) -> None:
        """All checks have ended; `plain` is the whole result, `file` where it is stored."""
        verdicts = [check["verdict"] for check in plain["checks"]]
        counts = ", ".join(
            f"{verdicts.count(kind)} {word}"
            for kind, word in (("PASS", "passed"), ("FAIL", "failed"), ("SKIP", "skipped"))
            if kind in verdicts
        )
        text = f"{plain['verdict']}: {counts} in {_clock(plain['seconds'])}"
        if file is not None:
            text += f"; the result, for bug reports and `recipe fit`: {file}"
        line = Text(text)
        line.stylize(_COLOURS[plain["verdict"]], 0, len(plain["verdict"]))
        self._console.print(line, soft_wrap=True)

    def close(self) -> None:
        """End the display of a running check, if any."""
        self._running.close()

    def _when(self, seconds: float, left: float) -> str:
        taken = f"{seconds:.1f} s"
        return taken if self._done == self._total else f"{taken}, {_about(left)}"

    def _wrapped(self, line: str) -> str:
        if not self._console.is_terminal:
            return line
        width = min(_WIDTH, self._console.width)
        indent = " " * (_VERDICT + _NAME)
        return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False)


def _about(seconds: float) -> str:
    return f"about {_clock(seconds)} left"


def _clock(seconds: float) -> str:
    """Minutes and seconds as `m:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
