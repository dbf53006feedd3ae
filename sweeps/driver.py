"""What all sweeps of a driver's process share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cluster.database import Database
from cluster.settings import Settings
from sweeps.events import OnEvent


@dataclass(frozen=True)
class Driver:
    """What all sweeps of a process share. `slots(stage)` is how many of its trials fit at once."""

    settings: Settings
    database: Database
    on_event: OnEvent
    slots: Callable[[str], int]
