"""API keys in the database."""

from __future__ import annotations

import re
from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from align.suggestions import did_you_mean
from cluster.database import Database
from cluster.database.tables import ApiKey, now
from serve.access.key import SCOPES, Key, Scope, digest_of, new_secret
from serve.errors import KeyNameError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Keys:
    """The API keys of a database. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        scopes: Collection[str],
        requests_per_minute: int | None = None,
        tokens_per_day: int | None = None,
    ) -> tuple[Key, str]:
        """A new key and its secret, which is not stored.

        KeyNameError if the name or a scope is not allowed, or the name is taken.
        """
        if not _NAME.fullmatch(name):
            raise KeyNameError(
                f"'{name}' cannot name a key; expected e.g. website: letters, digits, - _ ., at "
                "most 64 characters"
            )
        if not scopes or not set(scopes) <= set(SCOPES):
            raise KeyNameError(
                f"scopes '{', '.join(scopes)}': expected one or more of {', '.join(SCOPES)}"
            )
        identity, secret = new_secret()
        row = ApiKey(
            id=identity,
            name=name,
            digest=digest_of(secret),
            scopes=sorted(set(scopes)),
            requests_per_minute=requests_per_minute,
            tokens_per_day=tokens_per_day,
            created_at=now(),
        )
        try:
            with self._database.session() as session:
                session.add(row)
        except IntegrityError:
            raise KeyNameError(
                f"there is a key '{name}' already; revoked ones keep their names, so take another"
            ) from None
        return _key(row), secret

    def revoke(self, name: str) -> Key:
        """Revoke the key: no endpoint accepts it any more.

        KeyNameError if there is no such key, or it was revoked before.
        """
        with self._database.session() as session:
            row = session.scalar(select(ApiKey).filter_by(name=name))
            if row is None:
                names = session.scalars(select(ApiKey.name)).all()
                hint = did_you_mean(name, names, 3, after=" ")
                raise KeyNameError(
                    f"there is no key '{name}'; {hint}`alignery serve key list` shows all"
                )
            if row.revoked_at is not None:
                at = row.revoked_at.isoformat(timespec="seconds")
                raise KeyNameError(f"the key '{name}' was revoked before, at {at}")
            row.revoked_at = now()
            return _key(row)

    def every(self) -> list[Key]:
        """All keys, revoked ones too, oldest first."""
        with self._database.session(write=False) as session:
            rows = session.scalars(select(ApiKey).order_by(ApiKey.created_at)).all()
        return [_key(row) for row in rows]

    def mark(self) -> tuple[int, int]:
        """A cheap change mark: the numbers of created and of revoked keys."""
        with self._database.session(write=False) as session:
            created, revoked = session.execute(
                select(func.count(), func.count(ApiKey.revoked_at)).select_from(ApiKey)
            ).one()
        return int(created), int(revoked)


def _key(row: ApiKey) -> Key:
    scopes: frozenset[Scope] = frozenset(scope for scope in SCOPES if scope in row.scopes)
    return Key(
        id=row.id,
        name=row.name,
        digest=row.digest,
        scopes=scopes,
        requests_per_minute=row.requests_per_minute,
        tokens_per_day=row.tokens_per_day,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
