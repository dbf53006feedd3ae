"""PostgreSQL connections on which nobody waits for ever."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg

#: Seconds that a server may be silent over one statement before it counts as lost.
ANSWER_SECONDS = 30.0


class PatientConnection(psycopg.Connection[Any]):
    """Closes itself when the server is silent for too long: OperationalError.

    No other limit notices a server that hangs while its kernel goes on, or one behind a proxy:
    `connect_timeout` is over by then, and `tcp_user_timeout` sees that what is sent arrives.
    """

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """See psycopg."""
        return super().wait(self._patient(gen), *arguments, **options)

    def _patient(self, gen: Any) -> Generator[Any, Any, Any]:
        """As `gen`, which is resumed with nothing several times a second while it waits."""
        deadline = time.monotonic() + ANSWER_SECONDS
        ready = None
        while True:
            try:
                awaited = gen.send(ready)
            except StopIteration as end:
                return end.value
            ready = yield awaited
            if not ready and time.monotonic() > deadline:
                self.pgconn.finish()  # what it would still say belongs to no question any more
                raise psycopg.OperationalError(f"no answer for {ANSWER_SECONDS:g} s")
