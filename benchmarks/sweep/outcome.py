"""What a contender tells of its search, in the same form from all of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PHASES = ("import", "load", "train", "evaluate")


@dataclass
class TrialRun:
    """One trial. Times are epoch seconds, `phases` seconds by kind (`PHASES`).

    `score` is its objective on validation items after all steps; None if it was stopped before.
    `folder` holds its adapter then.
    """

    params: dict[str, Any]
    began: float
    ended: float
    steps: int
    phases: dict[str, float]
    score: float | None = None
    folder: str | None = None


@dataclass
class Outcome:
    """One search: from the start of its process to its end, in epoch seconds."""

    began: float
    ended: float
    slots: int
    trials: list[TrialRun] = field(default_factory=list)

    @property
    def makespan(self) -> float:
        """Seconds of the whole process."""
        return self.ended - self.began

    @property
    def best(self) -> TrialRun:
        """The trial with the highest score; of equals, the one that had it first."""
        scored = [one for one in self.trials if one.score is not None]
        return max(scored, key=lambda one: (one.score or 0.0, -one.ended))

    def seconds_to(self, share: float) -> float:
        """Seconds until a finished trial had at least `share` of the best score."""
        wanted = share * (self.best.score or 0.0)
        reached = [one for one in self.trials if one.score is not None and one.score >= wanted]
        return min(one.ended for one in reached) - self.began

    def shares(self) -> dict[str, float]:
        """Which part of all slots' time went where; what no trial claims is `idle`."""
        whole = self.slots * self.makespan
        spent = {name: sum(one.phases.get(name, 0.0) for one in self.trials) for name in PHASES}
        found = {name: seconds / whole for name, seconds in spent.items()}
        return {**found, "idle": 1.0 - sum(found.values())}

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(asdict(self))


def read_outcome(file: Path) -> Outcome:
    """What `to_json` wrote."""
    raw = json.loads(file.read_text(encoding="utf-8"))
    return Outcome(**{**raw, "trials": [TrialRun(**one) for one in raw["trials"]]})
