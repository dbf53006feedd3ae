"""When an alias moves here: decisions without a clock, a database or an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.registry import AdapterVersion

#: Seconds before an adapter that could not be prepared is tried again.
RETRY_SECONDS = 10.0


@dataclass(frozen=True)
class Move:
    """An alias that points to `to` in the registry and still to another one here."""

    alias: str
    to: AdapterVersion


@dataclass(frozen=True)
class RolloutFailure:
    """Why an alias could not follow the registry to `to`."""

    to: AdapterVersion
    reason: str
    at: float


class AliasRollout:
    """Where aliases point here, on their way to where the registry has them.

    An alias that already answers on `base` moves once what it moves to is prepared; one that is
    new, or moves from or to another base, follows at once, for nothing of it can be lost here.
    """

    def __init__(self, base: str) -> None:
        self._base = base
        self._here: dict[str, AdapterVersion] = {}
        self._wanted: dict[str, AdapterVersion] = {}
        self._underway: set[tuple[str, str]] = set()  # alias, adapter id
        self._failures: dict[str, RolloutFailure] = {}

    @property
    def here(self) -> Mapping[str, AdapterVersion]:
        """Where each alias points here."""
        return self._here

    @property
    def pending(self) -> Mapping[str, AdapterVersion]:
        """Where aliases are about to point; those that have failed are among them."""
        here = self._here
        return {
            alias: to
            for alias, to in self._wanted.items()
            if alias in here and here[alias].adapter_id != to.adapter_id
        }

    @property
    def failures(self) -> Mapping[str, RolloutFailure]:
        """Aliases that could not follow, and why."""
        return self._failures

    def see(self, aliases: Mapping[str, AdapterVersion], now: float) -> list[Move]:
        """Take in what the registry has; the moves that are to be prepared now."""
        self._wanted = dict(aliases)
        self._here = {alias: at for alias, at in self._here.items() if alias in aliases}
        moves = [Move(alias, to) for alias, to in aliases.items() if self._must_prepare(alias, to)]
        for alias in aliases.keys() - {one.alias for one in moves}:
            self._here[alias] = aliases[alias]
        still = {one.alias: one.to.adapter_id for one in moves}
        self._failures = {
            alias: one
            for alias, one in self._failures.items()
            if still.get(alias) == one.to.adapter_id
        }
        begun = [one for one in moves if self._is_due(one, now)]
        self._underway |= {(one.alias, one.to.adapter_id) for one in begun}
        return begun

    def prepared(self, move: Move) -> None:
        """It is ready: the alias moves, unless the registry has changed its mind since."""
        self._underway.discard((move.alias, move.to.adapter_id))
        if self._is_wanted(move):
            self._here[move.alias] = move.to
            self._failures.pop(move.alias, None)

    def failed(self, move: Move, reason: str, now: float) -> None:
        """It cannot be had now: the alias stays, and `see` begins the move again later."""
        self._underway.discard((move.alias, move.to.adapter_id))
        if self._is_wanted(move):
            self._failures[move.alias] = RolloutFailure(move.to, reason, now)

    def _must_prepare(self, alias: str, to: AdapterVersion) -> bool:
        at = self._here.get(alias)
        if at is None or at.adapter_id == to.adapter_id:
            return False
        return at.base == to.base == self._base

    def _is_due(self, move: Move, now: float) -> bool:
        failure = self._failures.get(move.alias)
        rests = failure is not None and now < failure.at + RETRY_SECONDS
        return not rests and (move.alias, move.to.adapter_id) not in self._underway

    def _is_wanted(self, move: Move) -> bool:
        wanted = self._wanted.get(move.alias)
        return wanted is not None and wanted.adapter_id == move.to.adapter_id
