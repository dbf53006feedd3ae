"""A real endpoint that is asked all the time, while names move and things are lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import openai
import psutil
import pytest
from real_adapters import BASE, real_adapter

from cluster.ray import ray_session
from cluster.registry import Registry, open_registry
from cluster.settings import Settings
from serve.server import running_server
from serve.sizes import Sizes

LINE = "arithmetic/sft"
TOKENS = 8
PROMPTS = ["one", "two and three", "a third prompt, longer than the others"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("ALIGNERY_DATABASE_URL", "ALIGNERY_STORAGE", "ALIGNERY_RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("ALIGNERY_HOME", str(folder / "home"))
        yield Settings()


@pytest.fixture(scope="module")
def registry(home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Two versions of one line; the first is its champion."""
    made = open_registry(home)
    for seed in (0, 1):
        made.register(LINE, real_adapter(tmp_path_factory.mktemp("made") / "it", "sft", seed))
    made.promote(LINE, 1)
    return made


@pytest.fixture(scope="module")
def url(home: Settings, registry: Registry) -> Iterator[str]:
    sizes = Sizes(slots=8, slot_tokens=500, kv_gib=0.5, adapters=1)
    with ray_session(home, num_cpus=1), running_server(home, BASE, cpus=1, sizes=sizes) as url:
        yield url


def connect(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)


def answer(client: openai.OpenAI, model: str, prompt: str, stream: bool) -> tuple[str, str]:
    """Who answered, and what."""
    asked: dict[str, Any] = {"model": model, "prompt": prompt, "max_tokens": TOKENS}
    if not stream:
        whole = client.completions.create(**asked, temperature=0)
        return str(whole.system_fingerprint), whole.choices[0].text
    parts = list(client.completions.create(**asked, temperature=0, stream=True))
    who = {str(part.system_fingerprint) for part in parts}
    assert len(who) == 1
    return who.pop(), "".join(part.choices[0].text for part in parts)


@dataclass
class Load:
    """Clients that ask for the champion without a pause until they are told to stop."""

    url: str
    clients: int = 6
    streams: bool = True  # every second client
    answers: list[tuple[str, str, str]] = field(default_factory=list)  # prompt, who, text
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._pool = ThreadPoolExecutor(self.clients)
        self._asking = [self._pool.submit(self._ask, number) for number in range(self.clients)]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()
        for one in self._asking:
            one.result()  # raises what a client was refused with

    def _ask(self, number: int) -> None:
        client = connect(self.url)
        for prompt in itertools.islice(itertools.cycle(PROMPTS), number, None):
            if self._over.is_set():
                return
            who, text = answer(
                client, f"{LINE}@champion", prompt, stream=self.streams and number % 2 == 1
            )
            self.answers.append((prompt, who, text))

    def more(self, count: int = 12) -> None:
        """Wait for so many more answers, or until a client has failed."""
        wanted = len(self.answers) + count
        while len(self.answers) < wanted and not any(one.done() for one in self._asking):
            time.sleep(0.01)


def right_answers(url: str, registry: Registry) -> set[tuple[str, str, str]]:
    """What each version says to each prompt, asked by its number and alone."""
    client = connect(url)
    return {
        (prompt, *answer(client, version.name, prompt, stream=False))
        for version in registry.versions(LINE)
        for prompt in PROMPTS
    }


def test_no_request_is_lost_or_mixed_while_the_champion_moves(url, registry):
    expected = right_answers(url, registry)
    assert len({text for _, _, text in expected}) == len(expected)  # so that they tell who spoke
    client = connect(url)
    with Load(url) as load:
        for number in (2, 1, 2, 1):
            load.more()
            version = registry.resolve(f"{LINE}:{number}")
            if number == 2:
                registry.promote(LINE, number)
            else:
                registry.rollback(LINE)
            while answer(client, LINE, PROMPTS[0], stream=False)[0] != version.adapter_id:
                time.sleep(0.02)
        load.more()
    assert set(load.answers) == expected


@pytest.mark.chaos
def test_a_killed_engine_loses_no_request_that_had_no_answer_yet(url, registry):
    expected = right_answers(url, registry)
    with Load(url, streams=False) as load:
        for _ in range(2):
            load.more()
            engine = next(one for one in engines() if one.is_running())
            engine.kill()
            load.more()
    assert set(load.answers) <= expected


def engines() -> list[psutil.Process]:
    """The processes that hold an engine."""
    found = psutil.Process().children(recursive=True)
    return [one for one in found if "EngineReplica" in " ".join(one.cmdline())]
