"""Clients that ask a real endpoint all the time, and what the right answers are."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import openai
from prometheus_client.parser import text_string_to_metric_families

from cluster.local_calls import open_url
from cluster.registry import Registry
from tests.waiting import wait_until

LINE = "arithmetic/sft"
TOKENS = 8
PROMPTS = ["one", "two and three", "a third prompt, longer than the others"]


def gauge(url: str, name: str, **labels: str) -> float:
    """A metric's sum over all processes and all labels but these."""
    with open_url(f"{url}/metrics", timeout=300) as page:
        families = text_string_to_metric_families(page.read().decode())
    return sum(
        one.value
        for family in families
        for one in family.samples
        if one.name == name and labels.items() <= one.labels.items()
    )


def connect(url: str, key: str = "none", timeout: float = 300) -> openai.OpenAI:
    """The official client. It goes past proxies: the endpoint is on this machine."""
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(
        base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=timeout, http_client=http
    )


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
    key: str = "none"
    timeout: float = 300  # of each request
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
        client = connect(self.url, self.key, self.timeout)
        for prompt in itertools.islice(itertools.cycle(PROMPTS), number, None):
            if self._over.is_set():
                return
            self.answers.append((prompt, *self.ask(client, number, prompt)))

    def ask(self, client: openai.OpenAI, number: int, prompt: str) -> tuple[str, str]:
        """One request of the client with this number: who answered, and what."""
        return answer(client, f"{LINE}@champion", prompt, stream=self.streams and number % 2 == 1)

    def more(self, count: int = 12) -> None:
        """Wait for so many more answers, or until a client has failed."""
        wanted = len(self.answers) + count
        wait_until(
            lambda: len(self.answers) >= wanted or any(one.done() for one in self._asking),
            f"{count} more answers",
            seconds=600,
        )


def right_answers(url: str, registry: Registry, key: str = "none") -> set[tuple[str, str, str]]:
    """What each version says to each prompt, asked by its number and alone."""
    client = connect(url, key)
    return {
        (prompt, *answer(client, version.name, prompt, stream=False))
        for version in registry.versions(LINE)
        for prompt in PROMPTS
    }
