"""Processes of their own for checks that count what a process takes of a card."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

#: Seconds in which a process must answer: it imports, loads the base and trains a few steps.
PATIENCE = 300.0
#: Work in a process: it gets its end of a pipe and the arguments.
Work = Callable[..., None]


class ProcessFailed(Exception):
    """A process of a check failed or did not answer; the card of this process is not affected."""


class Child:
    """A process that was started; its messages come in order."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def receive(self) -> Any:
        """The next message. ProcessFailed if the work raised, or the process ended or hangs."""
        try:
            if not self._connection.poll(PATIENCE):
                raise ProcessFailed(f"a process of the check has not answered in {PATIENCE:.0f} s")
            kind, value = self._connection.recv()
        except EOFError:
            raise ProcessFailed("a process of the check has ended without an answer") from None
        if kind == "error":
            raise ProcessFailed(f"in a process of the check: {value}")
        return value

    def send(self, value: Any) -> None:
        """Send the process a message."""
        self._connection.send(value)


class Parent:
    """The other end, in the process."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def send(self, value: Any) -> None:
        """Send the starting process a message."""
        self._connection.send(("value", value))

    def receive(self) -> Any:
        """Wait for a message."""
        return self._connection.recv()


@contextmanager
def child(work: Work, *arguments: Any) -> Iterator[Child]:
    """Run `work(parent, *arguments)` in a new process until the end of the block.

    `work` is a function of a module, since the process imports it.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, work, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Child(ours)
    finally:
        ours.close()
        process.terminate()
        process.join(10)


def _work(connection: Connection, work: Work, arguments: tuple[Any, ...]) -> None:
    warnings.simplefilter("ignore")  # they would stand between the lines of the checks
    try:
        work(Parent(connection), *arguments)
    except EOFError:  # the starting process has left the block
        pass
    except Exception as error:  # of any class: the starting process reports it
        lines = str(error).strip().splitlines() or ["no message"]
        connection.send(("error", f"{type(error).__name__}: {lines[0]}"))
