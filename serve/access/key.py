"""API keys, and the check of the key that a client presents. Pure."""

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
    """An API key as it is stored in the database. A limit of None means no limit.

    Scope `infer` allows models and answers, `feedback` allows ratings, `admin` allows everything.
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
        """Whether the key has a limit, so that its use must be counted."""
        return self.requests_per_minute is not None or self.tokens_per_day is not None

    def may(self, scope: Scope) -> bool:
        """Whether the key allows `scope`."""
        return scope in self.scopes or "admin" in self.scopes


class UnknownKey(AccessError):
    """A well-formed key that is not known, or not known yet."""


def new_secret() -> tuple[str, str]:
    """A new key's id and secret: 256 random bits, so a single SHA-256 protects it."""
    identity = secrets.token_hex(4)
    return identity, f"alk-{identity}-{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """The SHA-256 digest of a key's secret, which is stored in place of the secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def admitted(presented: str | None, keys: Mapping[str, Key], scope: Scope) -> Key:
    """The key of the `Authorization` header `presented`, if it allows `scope`.

    AccessError 401 or 403; UnknownKey (401) if the key is not in `keys`.
    """
    if not presented:
        raise AccessError(401, "this endpoint needs an API key: send Authorization: Bearer <key>")
    scheme, _, secret = presented.partition(" ")
    match = _FORM.fullmatch(secret.strip())
    if scheme.lower() != "bearer" or match is None:
        raise AccessError(401, "this is no API key of this endpoint: expected Bearer alk-…")
    key = keys.get(match[1])
    # Compared even for an unknown id, so that response times do not reveal which ids exist.
    expected = key.digest if key is not None else "0" * 64
    same = hmac.compare_digest(digest_of(secret.strip()), expected)
    if key is None or not same:
        raise UnknownKey(401, "this API key is not known here")
    if key.revoked_at is not None:
        raise AccessError(401, f"the API key '{key.name}' was revoked")
    if not key.may(scope):
        scopes = ", ".join(sorted(key.scopes))
        raise AccessError(403, f"the API key '{key.name}' is for {scopes}, and this needs {scope}")
    return key
