"""Whether a request's key is admitted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from serve.access.key import Key, UnknownKey, admitted, digest_of, new_secret
from serve.errors import AccessError


@pytest.fixture
def known() -> tuple[Key, str]:
    identity, secret = new_secret()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Key(identity, "it", digest_of(secret), frozenset({"infer"}), None, None, at), secret


def test_a_good_key_is_admitted_however_bearer_is_written(known):
    key, secret = known
    for header in (f"Bearer {secret}", f"bearer {secret}", f"Bearer  {secret} "):
        assert admitted(header, {key.id: key}, "infer") == key


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic abc", "Bearer alk-1-2"])
def test_what_is_no_key_is_a_401(known, header):
    key, _ = known
    with pytest.raises(AccessError) as caught:
        admitted(header, {key.id: key}, "infer")
    assert caught.value.status == 401


def test_a_key_with_another_secret_or_id_is_not_known(known):
    key, secret = known
    other = new_secret()[1]
    forged = f"alk-{key.id}-{other.rpartition('-')[2]:0>43}"[: len(secret)]
    for wrong in (other, forged, secret[:-1] + ("A" if secret[-1] != "A" else "B")):
        with pytest.raises(AccessError):
            admitted(f"Bearer {wrong}", {key.id: key}, "infer")
    with pytest.raises(UnknownKey):
        admitted(f"Bearer {secret}", {}, "infer")


def test_scopes_and_revocation(known):
    key, secret = known
    with pytest.raises(AccessError, match="is for infer, and this needs feedback") as caught:
        admitted(f"Bearer {secret}", {key.id: key}, "feedback")
    assert caught.value.status == 403
    admin = replace(key, scopes=frozenset({"admin"}))
    assert admitted(f"Bearer {secret}", {key.id: admin}, "feedback") == admin
    with pytest.raises(AccessError, match="'it' was revoked"):
        admitted(f"Bearer {secret}", {key.id: replace(key, revoked_at=key.created_at)}, "infer")
