"""API keys in the database: made, listed and revoked."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from serve.errors import KeyNameError


def test_a_secret_is_kept_nowhere(keys, database):
    key, secret = keys.create("website", ["infer"])
    with database.session(write=False) as session:
        rows = str(session.execute(text("select * from api_keys")).all())
    assert key.id in rows and secret not in rows and secret.rpartition("-")[2] not in rows


def test_keys_that_cannot_be_made_or_found(keys):
    keys.create("website", ["infer"])
    for name, scopes, words in (
        ("website", ["infer"], "already"),
        ("", ["infer"], "cannot name"),
        ("a b", ["infer"], "cannot name"),
        ("a\n", ["infer"], "cannot name"),
        ("a" * 65, ["infer"], "cannot name"),
        ("other", ["inference"], "'inference': expected one or more of infer, feedback, admin"),
        ("other", [], "expected one or more"),
    ):
        with pytest.raises(KeyNameError, match=words):
            keys.create(name, scopes)
    with pytest.raises(KeyNameError, match="did you mean website"):
        keys.revoke("websit")
    keys.revoke("website")
    with pytest.raises(KeyNameError, match="was revoked before"):
        keys.revoke("website")
    assert [one.name for one in keys.every()] == ["website"]
