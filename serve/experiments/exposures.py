"""Exposures that are written to the database, and buffered while it is unavailable."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from cluster.errors import DatabaseError
from serve.experiments.store import Experiments

#: Exposures that are buffered at most while the database is unavailable.
MOST_KEPT = 100_000
#: Buffered exposures that are written in a transaction.
BATCH = 200


@dataclass(frozen=True)
class Exposed:
    """A user's assignment in an experiment: `unit` is the user, `variant` its variant."""

    experiment: str
    unit: str
    variant: str


class Exposures:
    """Writes exposures at once; while the database is unavailable, buffers them in order.

    All methods but `keep` block. Safe to share between threads.
    """

    def __init__(self, experiments: Experiments) -> None:
        self._experiments = experiments
        self._kept: deque[tuple[str, Exposed, str | None]] = deque()
        self._writing = threading.Lock()

    def record(self, request_id: str, exposed: Exposed, adapter_id: str | None) -> None:
        """Write or buffer the exposure of an answer. DatabaseError if the buffer is full."""
        if not self._kept:
            try:
                return self._write((request_id, exposed, adapter_id))
            except DatabaseError:
                pass
        self.keep(request_id, exposed, adapter_id)

    def keep(self, request_id: str, exposed: Exposed, adapter_id: str | None) -> None:
        """Buffer the exposure; it may be written already. DatabaseError if the buffer is full."""
        if len(self._kept) >= MOST_KEPT:
            raise DatabaseError(f"{MOST_KEPT} answers of experiments wait for the database already")
        self._kept.append((request_id, exposed, adapter_id))

    def flush(self) -> None:
        """Write all buffered exposures. DatabaseError if that is not possible yet."""
        with self._writing:
            while self._kept:
                batch = [self._kept[index] for index in range(min(BATCH, len(self._kept)))]
                try:
                    self._write(*batch)
                except IntegrityError:  # an exposure was written before without a confirmation
                    for exposure in batch:
                        with suppress(IntegrityError):
                            self._write(exposure)
                for _ in batch:
                    self._kept.popleft()

    def _write(self, *exposures: tuple[str, Exposed, str | None]) -> None:
        self._experiments.record_exposures(
            (request_id, exposed.experiment, exposed.unit, exposed.variant, adapter_id)
            for request_id, exposed, adapter_id in exposures
        )
