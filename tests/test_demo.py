"""The demo's client of its own endpoint."""

from __future__ import annotations

import pytest

from align.recipe import load_recipe
from cluster.settings import Settings
from demo import Story
from tests.fake_dashboard import fake_dashboard
from tests.fake_proxy import fake_proxy


def test_the_demos_client_goes_past_the_environments_proxy(
    home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_proxy() as proxy, fake_dashboard() as endpoint:
        proxy.set_in(monkeypatch)
        story = Story(Settings(), load_recipe("arithmetic"), url=endpoint.address)
        assert story.client().get("/models", cast_to=str) == "[]"
        assert endpoint.seen == ["Bearer none"] and proxy.seen == []
