"""`alignery serve key …`, as typed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from serve.access.key import admitted
from serve.commands import serve_app
from serve.errors import KeyNameError


def key(*arguments):
    result = CliRunner().invoke(serve_app, ["key", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_a_secret_stands_alone_on_stdout_and_works(settings, keys):
    made = key("create", "website", "--requests-per-minute", "60")
    secret = made.stdout.strip()
    assert "only time" in made.stderr and secret not in made.stderr
    known = {one.id: one for one in keys.every()}
    it = admitted(f"Bearer {secret}", known, "infer")
    assert (it.name, it.scopes, it.requests_per_minute, it.tokens_per_day) == (
        "website", {"infer", "feedback"}, 60, None,
    )  # fmt: skip


def test_the_life_of_a_key(settings):
    assert "no keys yet" in key("list").stderr
    made = json.loads(key("create", "metrics", "--scope", "admin", "--json").stdout)
    assert made["key"].startswith(f"alk-{made['id']}-") and made["scopes"] == ["admin"]
    assert "is revoked" in key("revoke", "metrics").stdout
    (listed,) = json.loads(key("list", "--json").stdout)
    assert listed["name"] == "metrics" and listed["revoked_at"] is not None
    assert "key" not in listed and "digest" not in listed
    assert "revoked" in key("list").stdout


def test_a_scope_that_there_is_not_is_refused(settings):
    with pytest.raises(KeyNameError, match="'inference': expected one or more of infer"):
        key("create", "website", "--scope", "inference")
