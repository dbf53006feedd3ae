"""Adapters, their versions, and the aliases that point to them.

Adapters never change, names do: an alias moves in one transaction and every move is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Row, Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from align.adapters import Manifest, read_manifest, verify_folder
from align.errors import AdapterError
from align.suggestions import did_you_mean
from cluster.aliases import alias_history, locked_alias, move_alias, target_of
from cluster.database import Database, open_database
from cluster.database.tables import Adapter, Alias, AliasChange, Version
from cluster.errors import AdapterNotFound, DatabaseError, RegistryError, StorageError
from cluster.names import CHAMPION, Name, adapter_key, check_alias, check_line, parse_name
from cluster.promotion import (
    ANY,
    AliasTarget,
    Expected,
    HistoryEntry,
    check_expected,
    rollback_target,
)
from cluster.settings import Settings
from cluster.storage import Storage

__all__ = ["ANY", "AdapterVersion", "HistoryEntry", "Registry", "open_registry"]

T = TypeVar("T")

#: Attempts at a write that loses races for a row; each loss means that another writer won.
_ATTEMPTS = 50


@dataclass(frozen=True)
class AdapterVersion:
    """A registered adapter, as it was at the time of the lookup."""

    line: str
    number: int
    adapter_id: str
    method: str
    rank: int
    base: str
    manifest: Manifest
    created_at: datetime
    aliases: tuple[str, ...]

    @property
    def name(self) -> str:
        """`line:number`."""
        return f"{self.line}:{self.number}"


class Registry:
    """Adapters: their files in `storage`, their records in `database`."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage

    def register(self, line: str, folder: Path) -> AdapterVersion:
        """Store the adapter folder and give it the line's next number.

        Content that the line already has keeps its version. AdapterError if the folder is not what
        its manifest says; StorageError, RegistryError.
        """
        check_line(line)
        manifest = read_manifest(folder)
        verify_folder(folder, manifest.id)
        self._store(manifest.id, folder)

        def add(session: Session) -> int:
            existing = select(Version.number).filter_by(line=line, adapter_id=manifest.id)
            if (number := session.scalar(existing)) is not None:
                return number
            if session.get(Adapter, manifest.id) is None:
                session.add(_adapter(manifest))
                session.flush()
            newest = session.scalar(select(func.max(Version.number)).filter_by(line=line)) or 0
            session.add(Version(line=line, number=newest + 1, adapter_id=manifest.id))
            return newest + 1

        return self.resolve(f"{line}:{self._write(add)}")

    def resolve(self, name: str) -> AdapterVersion:
        """The version that `line:3`, `line@alias` or `line` (its champion) names now.

        AdapterNotFound, with similar names, if there is none.
        """
        try:
            parsed = parse_name(name)
        except RegistryError as error:
            raise self._unknown(name, str(error)) from None
        query = _versions().where(Version.line == parsed.line)
        if parsed.number is not None:
            query = query.where(Version.number == parsed.number)
        else:
            alias_points_here = (Alias.line == Version.line) & (Alias.number == Version.number)
            query = query.join(Alias, alias_points_here).where(Alias.name == parsed.alias)
        versions = self._read(query)
        if not versions:
            raise self._not_found(name, parsed)
        return versions[0]

    def promote(
        self,
        line: str,
        number: int,
        alias: str = CHAMPION,
        expected: Expected = ANY,
        reason: str = "",
    ) -> HistoryEntry:
        """Point `line@alias` to `line:number`, if it points to the id `expected` now.

        If it already points there, nothing happens and the latest entry is returned, whatever
        `expected` is: a repeated call succeeds. PromotionConflict, AdapterNotFound.
        """
        check_alias(alias)
        version = self.resolve(f"{line}:{number}")
        target = AliasTarget(version.number, version.adapter_id)

        def move(session: Session) -> HistoryEntry:
            row = locked_alias(session, line, alias)
            if row is not None and target_of(row) == target:
                return alias_history(session, line, alias)[-1]
            check_expected(line, alias, target_of(row), expected)
            return move_alias(session, line, alias, row, target, "promote", reason)

        return self._write(move)

    def rollback(self, line: str, alias: str = CHAMPION, reason: str = "") -> HistoryEntry:
        """Point `line@alias` to where it pointed before; again to go back further.

        AdapterNotFound if there is no such alias, RegistryError if it never pointed elsewhere.
        """
        name = f"{line}@{alias}"
        self.resolve(name)

        def move(session: Session) -> HistoryEntry:
            row = locked_alias(session, line, alias)
            target = rollback_target(alias_history(session, line, alias))
            if target is None:
                raise RegistryError(
                    f"{name} has nothing to roll back to: it never pointed elsewhere before; "
                    f"see `alignery adapter history {line} --alias {alias}`"
                )
            return move_alias(session, line, alias, row, target, "rollback", reason)

        return self._write(move)

    def history(self, line: str, alias: str = CHAMPION) -> list[HistoryEntry]:
        """All moves of `line@alias`, newest first; empty if it was never set."""
        with self._database.session(write=False) as session:
            return alias_history(session, line, alias)[::-1]

    def versions(self, line: str | None = None) -> list[AdapterVersion]:
        """All versions, or those of one line, in the order of line and number."""
        query = _versions().order_by(Version.line, Version.number)
        return self._read(query if line is None else query.where(Version.line == line))

    def aliases(self, line: str | None = None) -> dict[str, AdapterVersion]:
        """Where each `line@alias` points now."""
        return {
            f"{version.line}@{alias}": version
            for version in self.versions(line)
            for alias in version.aliases
        }

    def names(self, base: str) -> list[str]:
        """Every name by which an adapter of this base can be requested."""
        versions = [version for version in self.versions() if version.base == base]
        aliases = [f"{version.line}@{alias}" for version in versions for alias in version.aliases]
        return sorted(aliases) + [version.name for version in versions]

    def mark(self) -> tuple[int, int]:
        """A cheap value that changes whenever a version is added or an alias moves."""
        # Counts, since rows are only added: the highest id may belong to an earlier commit.
        moved = select(func.count()).select_from(AliasChange).scalar_subquery()
        added = select(func.count()).select_from(Version).scalar_subquery()
        with self._database.session(write=False) as session:
            moves, versions = session.execute(select(moved, added)).one()
        return int(moves), int(versions)

    def folder(self, version: AdapterVersion) -> Path:
        """The adapter's files on this machine, verified by digest. StorageError, AdapterError."""
        return stored_adapter(self._storage, version.adapter_id)

    def not_found(self, name: str) -> AdapterNotFound:
        """The error that says there is no adapter `name`, with similar names."""
        return self._unknown(name, f"there is no adapter '{name}'")

    def _store(self, identity: str, folder: Path) -> None:
        # An intact copy stays: a reader may be using it, and the content is the same.
        try:
            stored_adapter(self._storage, identity)
        except (StorageError, AdapterError):
            self._storage.put_folder(folder, adapter_key(identity))

    def _write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction, again if a concurrent writer added the same row first."""
        for _ in range(_ATTEMPTS):
            try:
                with self._database.session() as session:
                    return work(session)
            except IntegrityError as error:
                conflict = error
        raise DatabaseError(f"gave up after {_ATTEMPTS} attempts against other writers: {conflict}")

    def _read(self, query: Select[Version, Adapter]) -> list[AdapterVersion]:
        with self._database.session(write=False) as session:
            rows = session.execute(query).all()
            lines = {row[0].line for row in rows}
            aliases = session.scalars(select(Alias).where(Alias.line.in_(lines))).all()
        names: dict[tuple[str, int], list[str]] = {}
        for alias in aliases:
            names.setdefault((alias.line, alias.number), []).append(alias.name)
        return [_version(row, names) for row in rows]

    def _not_found(self, name: str, parsed: Name) -> AdapterNotFound:
        versions = self.versions(parsed.line)
        if not versions or parsed.number is not None:
            return self.not_found(name)
        aliases = ", ".join(alias for version in versions for alias in version.aliases)
        return AdapterNotFound(
            f"{parsed.line} has no alias '{parsed.alias}'; it has {aliases or 'none'}; set it with "
            f"`alignery adapter promote {versions[-1].name} --alias {parsed.alias}`"
        )

    def _unknown(self, name: str, problem: str) -> AdapterNotFound:
        versions = self.versions()
        known = {version.line for version in versions} | {version.name for version in versions}
        known |= {f"{version.line}@{alias}" for version in versions for alias in version.aliases}
        hint = did_you_mean(name, sorted(known), 3, before="; ") or ";"
        return AdapterNotFound(f"{problem}{hint} `alignery adapter list` shows all")


def open_registry(settings: Settings) -> Registry:
    """The registry of this installation; creates or migrates its database."""
    return Registry(open_database(settings), Storage(settings))


def stored_adapter(storage: Storage, identity: str) -> Path:
    """An adapter's files on this machine, verified by digest; needs no database.

    StorageError, AdapterError.
    """
    folder = storage.get_folder(adapter_key(identity))
    verify_folder(folder, identity)
    return folder


def _adapter(manifest: Manifest) -> Adapter:
    return Adapter(
        id=manifest.id,
        base=manifest.base,
        method=manifest.method,
        rank=manifest.rank,
        manifest=manifest.model_dump(mode="json"),
    )


def _versions() -> Select[Version, Adapter]:
    return select(Version, Adapter).join(Adapter, Adapter.id == Version.adapter_id)


def _version(
    row: Row[Version, Adapter], aliases: dict[tuple[str, int], list[str]]
) -> AdapterVersion:
    version, adapter = row
    return AdapterVersion(
        line=version.line,
        number=version.number,
        adapter_id=adapter.id,
        method=adapter.method,
        rank=adapter.rank,
        base=adapter.base,
        manifest=Manifest.model_validate(adapter.manifest),
        created_at=version.created_at,
        aliases=tuple(sorted(aliases.get((version.line, version.number), ()))),
    )
