"""What the demo prints of a model's answers, and its client of its own endpoint."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from align.recipe import load_recipe
from cluster.settings import Settings
from demo import Story
from tests.fake_dashboard import fake_dashboard
from tests.fake_proxy import fake_proxy

ANSWER = "so [/] it is [bold]5[/bold], or [red 世界 🙂"


def answered(text: str) -> Any:
    said = SimpleNamespace(content=text)
    return SimpleNamespace(choices=[SimpleNamespace(message=said, delta=said)])


class Client:
    """An endpoint's client whose base answers with what rich takes for markup."""

    def post(self, path: str, **_: Any) -> dict[str, Any]:
        return {"scores": [0.5, -0.5]}


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    recipe: Any = load_recipe("arithmetic")
    printed = Console(file=io.StringIO(), width=200, color_system=None)
    settings: Any = None
    story = Story(settings, recipe, printed)
    named: Any = SimpleNamespace(version=SimpleNamespace(name="arithmetic:1"))
    story.sweeps = dict.fromkeys(recipe.stages, named)

    def ask(*_: Any, stream: bool = False, **__: Any) -> Any:
        return iter(map(answered, ANSWER)) if stream else answered(ANSWER)

    monkeypatch.setattr(Story, "client", lambda _: Client())
    monkeypatch.setattr(Story, "ask", ask)
    return story


def lines(story: Story) -> Iterator[str]:
    assert isinstance(story.console.file, io.StringIO)
    return iter(story.console.file.getvalue().splitlines())


def test_answers_are_printed_as_they_are_also_where_they_look_like_markup(story):
    story.call()
    answers = [line for line in lines(story) if "so [/]" in line]
    assert (
        len(answers)
        == 1 + sum(stage.method != "reward" for stage in story.recipe.stages.values()) + 1
    )
    assert all(line.endswith(ANSWER) for line in answers)


def test_the_demos_client_goes_past_the_environments_proxy(
    home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_proxy() as proxy, fake_dashboard() as endpoint:
        proxy.set_in(monkeypatch)
        story = Story(Settings(), load_recipe("arithmetic"), url=endpoint.address)
        assert story.client().get("/models", cast_to=str) == "[]"
        assert endpoint.seen == ["Bearer none"] and proxy.seen == []
