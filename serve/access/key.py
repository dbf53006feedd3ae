"""An API key, and whether what a client presents is one. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from serve.errors import AccessError

Scope = Literal["infer", "feedback", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_FORM = re.compile(r"alk-([0-9a-f]{8})-[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Key:
    """One key as the database has it. None: no limit of that kind.

    `infer` is for models and answers, `feedback` for ratings; `admin` may do everything.
    """

    id: str
    name: str
    digest: str
    scopes: frozenset[Scope]
    requests_per_minute: int | None
    tokens_per_day: int | None
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def limited(self) -> bool:
        """Whether anything has to be counted."""
        return self.requests_per_minute is not None or self.tokens_per_day is not None

    def may(self, scope: Scope) -> bool:
        """Whether the key is good for this."""
        return scope in self.scopes or "admin" in self.scopes


class UnknownKey(AccessError):
    """A key that has the form of one and that nobody knows, or does not know yet."""


def new_secret() -> tuple[str, str]:
    """A new key's id and the key itself: 256 random bits, so one round of SHA-256 hides it."""
    identity = secrets.token_hex(4)
    return identity, f"alk-{identity}-{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def admitted(presented: str | None, keys: Mapping[str, Key], scope: Scope) -> Key:
    """The key behind an `Authorization` header. AccessError 401 and 403; UnknownKey."""
    if not presented:
        raise AccessError(401, "this endpoint needs an API key: send Authorization: Bearer <key>")
    kind, _, secret = presented.partition(" ")
    form = _FORM.fullmatch(secret.strip())
    if kind.lower() != "bearer" or form is None:
        raise AccessError(401, "this is no API key of this endpoint: expected Bearer alk-…")
    key = keys.get(form[1])
    # Compared even where there is nothing to compare with, so that time does not tell ids.
    expected = key.digest if key is not None else "0" * 64
    same = hmac.compare_digest(digest_of(secret.strip()), expected)
    if key is None or not same:
        raise UnknownKey(401, "this API key is not known here")
    if key.revoked_at is not None:
        raise AccessError(401, f"the API key '{key.name}' was revoked")
    if not key.may(scope):
        has = ", ".join(sorted(key.scopes))
        raise AccessError(403, f"the API key '{key.name}' is for {has}, and this needs {scope}")
    return key
