"""PostgreSQL connections that close when the server is silent for too long."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection

#: Seconds that a server may be silent during a statement before it counts as lost.
ANSWER_SECONDS = 30.0


class PatientConnection(psycopg.Connection[Any]):
    """Closes itself when the server is silent for `answer_seconds`: OperationalError.

    No other limit notices a server that hangs while its kernel runs on, or a server behind a proxy:
    `connect_timeout` only covers connecting, and `tcp_user_timeout` only packets without an ACK.
    """

    answer_seconds = ANSWER_SECONDS

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """See psycopg."""
        return super().wait(self._patient(gen), *arguments, **options)

    def _patient(self, gen: Any) -> Generator[Any, Any, Any]:
        """Wrap `gen` with the limit; while it waits, psycopg sends None several times a second."""
        silent_since, ready = time.monotonic(), None
        while True:
            try:
                awaited = gen.send(ready)
            except StopIteration as end:
                return end.value
            ready = yield awaited
            if ready:
                silent_since = time.monotonic()
            elif time.monotonic() > silent_since + self.answer_seconds:
                self.pgconn.finish()  # a late answer would fit no later statement
                raise psycopg.OperationalError(f"no answer for {self.answer_seconds:g} s")


@contextmanager
def patient(connection: Connection, seconds: float) -> Iterator[None]:
    """Let the block's statements take `seconds`: they wait for locks, or change tables."""
    driver: Any = connection.connection.driver_connection
    driver.answer_seconds = seconds
    try:
        yield
    finally:
        driver.answer_seconds = ANSWER_SECONDS
