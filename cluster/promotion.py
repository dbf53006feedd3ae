"""Which move of an alias is allowed, and where a rollback leads: decisions without a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal

from cluster.errors import PromotionConflict

Action = Literal["promote", "rollback"]


class Anything(Enum):
    """The type of `ANY`."""

    ANY = "any"


#: Promote whatever the alias points to now.
ANY = Anything.ANY

#: The adapter id that an alias must point to; None: the alias must not exist yet.
Expected = str | None | Literal[Anything.ANY]


@dataclass(frozen=True)
class AliasTarget:
    """Where an alias points."""

    number: int
    adapter_id: str


@dataclass(frozen=True)
class HistoryEntry:
    """One move of an alias; `from_*` is None where the alias was new."""

    line: str
    alias: str
    action: Action
    from_number: int | None
    from_id: str | None
    to_number: int
    to_id: str
    reason: str
    at: datetime


def check_expected(line: str, alias: str, now: AliasTarget | None, expected: Expected) -> None:
    """PromotionConflict, stating where the alias points, unless it is as the caller expected."""
    current = now.adapter_id if now else None
    if expected is ANY or expected == current:
        return
    state = f"points to {line}:{now.number} ({now.adapter_id[:12]})" if now else "does not exist"
    expectation = f"{expected[:12]} was expected" if expected else "it was expected not to exist"
    raise PromotionConflict(
        f"{line}@{alias} {state}, but {expectation}; nothing was changed. "
        f"Look at `alignery adapter history {line} --alias {alias}` and promote again"
    )


def rollback_target(history: Sequence[HistoryEntry]) -> AliasTarget | None:
    """Where a rollback leads; None if there is no earlier target. `history` is oldest first.

    Moves are a stack: a promotion pushes, a rollback pops. So repeated rollbacks go back
    further, and after a rollback and a new promotion the next rollback undoes that promotion.
    """
    stack: list[AliasTarget] = []
    for entry in history:
        if entry.action == "promote":
            stack.append(AliasTarget(entry.to_number, entry.to_id))
        else:
            stack.pop()
    return stack[-2] if len(stack) > 1 else None
