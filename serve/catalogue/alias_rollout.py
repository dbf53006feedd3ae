"""When an alias moves on this endpoint. Pure decisions: no clock, no database, no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.registry import AdapterVersion

#: Seconds before a failed preparation of an adapter is retried.
RETRY_SECONDS = 10.0


@dataclass(frozen=True)
class Move:
    """An alias that points to `to` in the registry, but still to another version here."""

    alias: str
    to: AdapterVersion


@dataclass(frozen=True)
class RolloutFailure:
    """Why an alias could not follow the registry to `to`."""

    to: AdapterVersion
    reason: str
    at: float


class AliasRollout:
    """The versions that aliases point to here, which follow the registry.

    An alias that already points to an adapter on `base` moves once its new adapter is prepared. A
    new alias, or an alias that moves from or to another base, follows at once, since this endpoint
    would gain nothing from preparing it.
    """

    def __init__(self, base: str) -> None:
        self._base = base
        self._here: dict[str, AdapterVersion] = {}
        self._wanted: dict[str, AdapterVersion] = {}
        self._underway: set[tuple[str, str]] = set()  # alias, adapter id
        self._failures: dict[str, RolloutFailure] = {}

    @property
    def here(self) -> Mapping[str, AdapterVersion]:
        """The version that each alias points to here."""
        return self._here

    @property
    def pending(self) -> Mapping[str, AdapterVersion]:
        """The versions that aliases are about to point to, failed moves included."""
        here = self._here
        return {
            alias: to
            for alias, to in self._wanted.items()
            if alias in here and here[alias].adapter_id != to.adapter_id
        }

    @property
    def failures(self) -> Mapping[str, RolloutFailure]:
        """Aliases that could not follow the registry, with the reasons."""
        return self._failures

    def see(self, aliases: Mapping[str, AdapterVersion], now: float) -> list[Move]:
        """Update from the registry's aliases. Returns the moves that are to be prepared now."""
        self._wanted = dict(aliases)
        self._here = {alias: version for alias, version in self._here.items() if alias in aliases}
        moves = [Move(alias, to) for alias, to in aliases.items() if self._must_prepare(alias, to)]
        for alias in aliases.keys() - {move.alias for move in moves}:
            self._here[alias] = aliases[alias]
        targets = {move.alias: move.to.adapter_id for move in moves}
        self._failures = {
            alias: failure
            for alias, failure in self._failures.items()
            if targets.get(alias) == failure.to.adapter_id
        }
        due = [move for move in moves if self._is_due(move, now)]
        self._underway |= {(move.alias, move.to.adapter_id) for move in due}
        return due

    def prepared(self, move: Move) -> None:
        """The adapter is ready: move the alias, unless the registry has changed it since."""
        self._underway.discard((move.alias, move.to.adapter_id))
        if self._is_wanted(move):
            self._here[move.alias] = move.to
            self._failures.pop(move.alias, None)

    def failed(self, move: Move, reason: str, now: float) -> None:
        """The adapter could not be prepared: keep the alias. `see` retries the move later."""
        self._underway.discard((move.alias, move.to.adapter_id))
        if self._is_wanted(move):
            self._failures[move.alias] = RolloutFailure(move.to, reason, now)

    def _must_prepare(self, alias: str, to: AdapterVersion) -> bool:
        current = self._here.get(alias)
        if current is None or current.adapter_id == to.adapter_id:
            return False
        return current.base == to.base == self._base

    def _is_due(self, move: Move, now: float) -> bool:
        failure = self._failures.get(move.alias)
        backing_off = failure is not None and now < failure.at + RETRY_SECONDS
        return not backing_off and (move.alias, move.to.adapter_id) not in self._underway

    def _is_wanted(self, move: Move) -> bool:
        version = self._wanted.get(move.alias)
        return version is not None and version.adapter_id == move.to.adapter_id
