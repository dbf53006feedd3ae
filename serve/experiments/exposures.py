"""Exposures on their way to the database, kept where it cannot be reached."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from cluster.errors import DatabaseError
from serve.experiments.store import Experiments

#: Exposures that are kept while the database is away.
MOST_KEPT = 100_000


@dataclass(frozen=True)
class Exposed:
    """One user's place in an experiment."""

    experiment: str
    unit: str
    variant: str


class Exposures:
    """Written at once; while the database is away, kept in order until it is back.

    Methods block. Safe to share between threads.
    """

    def __init__(self, experiments: Experiments) -> None:
        self._experiments = experiments
        self._kept: deque[tuple[str, Exposed, str | None]] = deque()
        self._writing = threading.Lock()

    def record(self, request_id: str, exposed: Exposed, adapter_id: str | None) -> None:
        """Note who answered. DatabaseError if the database is away and too many wait for it."""
        one = (request_id, exposed, adapter_id)
        if not self._kept:
            try:
                self._write(one)
            except DatabaseError:
                pass
            else:
                return
        if len(self._kept) >= MOST_KEPT:
            raise DatabaseError(f"{MOST_KEPT} answers of experiments wait for the database already")
        self._kept.append(one)

    def flush(self) -> None:
        """Write what was kept. DatabaseError if that cannot be done yet."""
        with self._writing:
            while self._kept:
                with suppress(IntegrityError):  # it was written, and the answer got lost
                    self._write(self._kept[0])
                self._kept.popleft()

    def _write(self, one: tuple[str, Exposed, str | None]) -> None:
        request_id, exposed, adapter_id = one
        self._experiments.record_exposure(
            request_id, exposed.experiment, exposed.unit, exposed.variant, adapter_id
        )
