"""Aliases and their history inside a transaction."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from cluster.database.tables import Alias, AliasChange, now
from cluster.promotion import Action, AliasTarget, HistoryEntry


def locked_alias(session: Session, line: str, alias: str) -> Alias | None:
    """The alias's row, locked until the transaction ends (on SQLite with the whole database)."""
    return session.scalar(select(Alias).filter_by(line=line, name=alias).with_for_update())


def target_of(row: Alias | None) -> AliasTarget | None:
    """Where the alias of `row` points; None without a row."""
    return AliasTarget(row.number, row.adapter_id) if row else None


def move_alias(
    session: Session,
    line: str,
    alias: str,
    row: Alias | None,
    target: AliasTarget,
    action: Action,
    reason: str,
) -> HistoryEntry:
    """Point the alias to `target` and record the move. `row` is its row; None if it is new."""
    change = AliasChange(
        line=line,
        name=alias,
        action=action,
        from_number=row.number if row else None,
        from_id=row.adapter_id if row else None,
        to_number=target.number,
        to_id=target.adapter_id,
        reason=reason,
        at=now(),
    )
    if row is None:
        row = Alias(line=line, name=alias)
        session.add(row)
    row.number, row.adapter_id, row.updated_at = target.number, target.adapter_id, change.at
    session.add(change)
    session.flush()
    return _entry(change)


def alias_history(session: Session, line: str, alias: str) -> list[HistoryEntry]:
    """All moves of the alias, oldest first."""
    query = select(AliasChange).filter_by(line=line, name=alias).order_by(AliasChange.id)
    return [_entry(change) for change in session.scalars(query)]


def _entry(change: AliasChange) -> HistoryEntry:
    return HistoryEntry(
        line=change.line,
        alias=change.name,
        action="rollback" if change.action == "rollback" else "promote",
        from_number=change.from_number,
        from_id=change.from_id,
        to_number=change.to_number,
        to_id=change.to_id,
        reason=change.reason,
        at=change.at,
    )
