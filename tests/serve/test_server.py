"""The endpoint on a real Ray with a real, tiny model, asked by the official client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import openai
import psutil
import pytest

from cluster.database import open_database
from cluster.ray import ray_session
from cluster.registry import Registry, open_registry
from cluster.settings import Settings
from cluster.storage import Storage
from serve.errors import PortInUse, ServeError
from serve.experiments import Experiments, VariantSpec
from serve.metrics.reporter import PERIOD_SECONDS
from serve.server import running_server
from serve.sizes import Sizes
from tests.fake_proxy import Proxy, fake_proxy
from tests.serve.asking import LINE, PROMPTS, Load, answer, connect, gauge, right_answers
from tests.serve.real_adapters import BASE, installation, real_adapter
from tests.waiting import wait_until

HELLO = [{"role": "user", "content": "hello"}]
#: Where Ray asks, by itself, in which cloud it runs.
CLOUDS = {"169.254.169.254", "metadata.google.internal"}
WRITTEN = "alignery_completion_tokens_total"


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """The proxy that the environment names, without exceptions, to this process and its Ray."""
    with fake_proxy() as server, pytest.MonkeyPatch.context() as patch:
        server.set_in(patch)
        patch.setenv("RAY_grpc_enable_http_proxy", "1")  # else Ray asks no proxy at all
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("serving") / "q?1 #50%"
    folder.mkdir()
    with installation(folder) as settings:
        registry = open_registry(settings)
        for seed, method in enumerate(("sft", "reward")):
            made = real_adapter(folder / method, method, seed)
            registry.register(f"arithmetic/{method}", made)
        registry.promote("arithmetic/sft", 1)
        yield settings


@pytest.fixture(scope="module")
def local_ray(home: Settings, proxy: Proxy) -> Iterator[None]:
    with ray_session(home, num_cpus=1):
        yield


@pytest.fixture(scope="module")
def url(home: Settings, local_ray: None) -> Iterator[str]:
    sizes = Sizes(slots=8, slot_tokens=2000, kv_gib=0.5, adapters=1)
    with running_server(home, BASE, cpus=1, sizes=sizes) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return connect(url)


def test_a_base_that_cannot_be_loaded_is_one_message(home, local_ray, capfd):
    with (
        pytest.raises(ServeError, match=r"^base 'no-such-base' cannot be loaded"),
        running_server(home, "no-such-base", cpus=1),
    ):
        pass
    assert capfd.readouterr().out == ""


def test_nobody_takes_the_port_before_serve_listens_on_it(home, local_ray, monkeypatch):
    class Tried(Exception):
        pass

    def start(http_options, **_):
        address = (http_options["host"], http_options["port"])
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(address)
        with socket.socket() as proxy:  # as Serve's
            proxy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            proxy.bind(address)
        raise Tried

    monkeypatch.setattr("ray.serve.start", start)
    with pytest.raises(Tried), running_server(home, BASE, cpus=1):
        pass


def test_the_official_client_chats(client):
    one, other = (
        client.chat.completions.create(
            model=model, messages=HELLO, max_tokens=8, temperature=0, user="ada"
        )
        for model in ("base", "arithmetic/sft@champion")
    )
    assert one.choices[0].message.role == "assistant"
    assert one.usage.completion_tokens > 0
    assert one.system_fingerprint == "base" and len(other.system_fingerprint) == 64
    assert one.choices[0].message.content != other.choices[0].message.content


def test_the_official_client_streams(client):
    whole = client.chat.completions.create(
        model="base", messages=HELLO, max_tokens=12, temperature=0
    )
    parts = list(
        client.chat.completions.create(
            model="base", messages=HELLO, max_tokens=12, temperature=0,
            stream=True, stream_options={"include_usage": True},
        )
    )  # fmt: skip
    text = "".join(one.choices[0].delta.content or "" for one in parts if one.choices)
    assert text == whole.choices[0].message.content
    assert parts[-1].usage == whole.usage


def test_the_official_client_completes_text_and_lists_models(client):
    answer = client.completions.create(model="base", prompt="one two", max_tokens=3)
    assert answer.usage.prompt_tokens == 7 and answer.usage.completion_tokens <= 3
    assert [one.id for one in client.models.list()] == [
        "base", "arithmetic/reward:1", "arithmetic/sft:1", "arithmetic/sft@champion"
    ]  # fmt: skip
    assert client.models.retrieve("arithmetic/sft").id == "arithmetic/sft"


def test_the_official_client_raises_its_own_errors(client):
    with pytest.raises(openai.NotFoundError, match="did you mean arithmetic/sft"):
        client.chat.completions.create(model="arithmetic/sftt", messages=HELLO)
    with pytest.raises(openai.BadRequestError, match="context is 2000 tokens"):
        client.chat.completions.create(
            model="base", messages=[{"role": "user", "content": "x" * 3000}], stream=True
        )
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model="base", messages=HELLO, temperature=9)


def test_the_official_client_reads_logprobs(client):
    ask = {"model": "arithmetic/sft:1", "temperature": 0, "max_tokens": 12, "logprobs": True}
    whole = client.chat.completions.create(messages=HELLO, top_logprobs=3, **ask)
    parts = client.chat.completions.create(messages=HELLO, top_logprobs=3, stream=True, **ask)
    choice = whole.choices[0]
    entries = choice.logprobs.content
    streamed = [
        entry
        for part in parts
        if part.choices[0].logprobs
        for entry in part.choices[0].logprobs.content
    ]
    assert [one.bytes for one in streamed] == [one.bytes for one in entries]
    assert len(entries) == whole.usage.completion_tokens
    written = b"".join(bytes(entry.bytes) for entry in entries)
    assert written.decode(errors="replace") == choice.message.content
    for entry in entries:
        assert len(entry.top_logprobs) == 3
        assert entry.top_logprobs[0].bytes == entry.bytes  # greedy takes the likeliest
        assert entry.logprob < 0
    legacy = client.completions.create(
        model="base", prompt="one", max_tokens=4, logprobs=2, logit_bias={"40": 100}
    )
    logprobs = legacy.choices[0].logprobs
    assert len(set(logprobs.tokens)) == 1  # the bias leaves it no choice
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == 4


def test_scores_are_the_reward_adapters(client):
    answer = client.post(
        "/score",
        body={"model": "arithmetic/reward:1", "conversations": [HELLO, HELLO * 2]},
        cast_to=dict,
    )
    first, second = answer["scores"]
    assert first != second


def test_an_experiment_over_the_wire(client, home):
    database = open_database(home)
    experiments = Experiments(database, Registry(database, Storage(home)))
    arms = [
        VariantSpec(name="control", model="base"),
        VariantSpec(name="treatment", model="arithmetic/sft"),
    ]
    experiments.start("trial", arms, "control", 100)
    for number in range(12):
        answer = client.chat.completions.create(
            model="trial", messages=HELLO, max_tokens=2, user=f"user-{number}"
        )
        body = {"request_id": answer.id, "value": number % 2}
        client.post("/feedback", body=body, cast_to=dict)
    report = experiments.report("trial")
    assert sum(one.rated_users for one in report.variants) == 12
    database.close()


def test_a_client_that_hangs_up_does_not_hold_up_the_next_and_is_counted_as_left(client, url):
    long = {"model": "base", "messages": HELLO, "max_tokens": 1900, "temperature": 0, "n": 4}
    long["extra_body"] = {"ignore_eos": True}
    time.sleep(2 * PERIOD_SECONDS)  # until what others wrote has been reported
    before, left, answered = gauge(url, WRITTEN), counted(url, "499"), counted(url, "200")
    stream = client.chat.completions.create(**long, stream=True)
    next(iter(stream))
    stream.close()
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(**long)
    client.chat.completions.create(model="base", messages=HELLO, max_tokens=1)
    wait_until(lambda: gauge(url, WRITTEN) > before and not gauge(url, "alignery_rows_unfinished"))
    assert gauge(url, WRITTEN) - before < long["max_tokens"]  # no row of theirs came to its end
    wait_until(lambda: counted(url, "499") == left + 2)
    parts = client.chat.completions.create(model="base", messages=HELLO, max_tokens=4, stream=True)
    assert list(parts)
    wait_until(lambda: counted(url, "200") == answered + 2)
    assert counted(url, "499") == left + 2


def counted(url: str, status: str) -> float:
    """Chats that ended with this status."""
    return gauge(url, "alignery_requests_total", status=status, route="/v1/chat/completions")


def test_many_at_once(client):
    answers: list[str] = []

    def ask() -> None:
        answer = client.chat.completions.create(model="base", messages=HELLO, max_tokens=4)
        answers.append(answer.choices[0].message.role)

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert answers == ["assistant"] * 24


def test_no_request_is_lost_or_mixed_while_the_champion_moves(url, home, tmp_path):
    registry = open_registry(home)
    registry.register(LINE, real_adapter(tmp_path / "second", "sft", 5))
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
            wait_until(
                lambda to=version.adapter_id: (
                    answer(client, LINE, PROMPTS[0], stream=False)[0] == to
                ),
                f"{version.name} answers",
            )
        load.more()
    assert set(load.answers) == expected


def test_a_second_serve_on_the_same_ray_is_refused(url, home):
    with (
        pytest.raises(ServeError, match="runs on this cluster already"),
        running_server(home, BASE),
    ):
        pass
    port = int(url.rpartition(":")[2])
    with (
        pytest.raises(PortInUse, match=str(port)),
        running_server(home, BASE, port=port),
    ):
        pass


def test_nothing_of_this_has_reached_the_environments_proxy(url, proxy):
    wait_until(lambda: gauge(url, WRITTEN) > 0, "counts of what was written")
    targets = {urlsplit(seen.split()[1]).hostname for seen in proxy.seen}
    assert targets <= CLOUDS


def test_the_ingress_imports_no_torch(url):
    titles = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            titles[" ".join(process.cmdline())] = process

    def maps(deployment: str) -> str:
        (process,) = (one for title, one in titles.items() if f":{deployment}" in title)
        return Path(f"/proc/{process.pid}/maps").read_text()

    assert "libtorch" in maps("EngineReplica")
    assert "libtorch" not in maps("Ingress")
