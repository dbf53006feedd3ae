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
#: Of these, how many are written at once when it is back.
BATCH = 200


@dataclass(frozen=True)
class Exposed:
    """One user's place in an experiment."""

    experiment: str
    unit: str
    variant: str


class Exposures:
    """Written at once; while the database is away, kept in order until it is back.

    Methods but `keep` block. Safe to share between threads.
    """

    def __init__(self, experiments: Experiments) -> None:
        self._experiments = experiments
        self._kept: deque[tuple[str, Exposed, str | None]] = deque()
        self._writing = threading.Lock()

    def record(self, request_id: str, exposed: Exposed, adapter_id: str | None) -> None:
        """Note who answered. DatabaseError if the database is away and too many wait for it."""
        if not self._kept:
            try:
                return self._write((request_id, exposed, adapter_id))
            except DatabaseError:
                pass
        self.keep(request_id, exposed, adapter_id)

    def keep(self, request_id: str, exposed: Exposed, adapter_id: str | None) -> None:
        """Note it later; twice is once. DatabaseError if too many wait for the database."""
        if len(self._kept) >= MOST_KEPT:
            raise DatabaseError(f"{MOST_KEPT} answers of experiments wait for the database already")
        self._kept.append((request_id, exposed, adapter_id))

    def flush(self) -> None:
        """Write what was kept. DatabaseError if that cannot be done yet."""
        with self._writing:
            while self._kept:
                first = [self._kept[place] for place in range(min(BATCH, len(self._kept)))]
                try:
                    self._write(*first)
                except IntegrityError:  # one was written, and the answer got lost
                    for one in first:
                        with suppress(IntegrityError):
                            self._write(one)
                for _ in first:
                    self._kept.popleft()

    def _write(self, *some: tuple[str, Exposed, str | None]) -> None:
        self._experiments.record_exposures(
            (request_id, exposed.experiment, exposed.unit, exposed.variant, adapter_id)
            for request_id, exposed, adapter_id in some
        )
