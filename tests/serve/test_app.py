"""Where an endpoint starts, and where not; and that it outlives the loss of a GPU."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import psutil
import pytest

from align.chat_encoder import PLAIN_CHAT, ChatOptions
from align.inference.types import Messages
from cluster.compat.ray_serve import listen_on_node_address
from cluster.ray import ray_session
from serve.app import AppArgs, EngineReplica, compose
from serve.batching.worker import Worker
from serve.errors import ServeError
from serve.server import running_server
from tests.serve.asking import connect
from tests.serve.real_adapters import BASE, installation
from tests.serve.serve_fakes import FakeEngine, FakeVocabulary
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("mode", "host", "trusted", "starts"),
    [
        ("token", "10.0.0.7", False, True),
        ("", "10.0.0.7", False, False),
        ("disabled", "10.0.0.7", False, False),
        ("", "127.0.0.1", False, True),
        ("", "10.0.0.7", True, True),
    ],
)
def test_an_endpoint_starts_on_a_closed_ray_alone(
    mode: str, host: str, trusted: bool, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serve.app import build

    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: host)
    args = {"base": BASE, "trust_network": trusted}
    if starts:
        build(args)
    else:
        with pytest.raises(ServeError, match=r"can run code .*trust_network to true"):
            build(args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"base": ""}, "at least 1 character"),
        ({"gpus": 1.5}, "whole GPUs"),
        ({"gpus": -1}, "greater than or equal to 0"),
        ({"replicas": 3, "most_replicas": 2}, "most_replicas is 2, and replicas 3"),
        ({"accelerator": "T44"}, "did you mean 'T4'"),
        ({"slot": 3}, "Extra inputs"),
        ({"drain_seconds": float("inf")}, "finite"),
    ],
)
def test_arguments_that_make_no_endpoint(args, message):
    with pytest.raises(ValueError, match=message):
        AppArgs(**{"base": BASE, **args})


def test_an_endpoint_serves_the_installation_it_is_told_and_else_its_machines(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("ALIGNERY_STORAGE", str(tmp_path / "bucket"))
    settings = AppArgs(base=BASE, home=str(tmp_path / "theirs")).settings()
    assert settings.home == tmp_path / "theirs"
    assert settings.storage == str(tmp_path / "bucket")


class Loading(Exception):
    """The engine would be loaded now."""


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_replica_claims_its_share_of_a_card_before_it_loads(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[tuple[str, float]] = []
    resources = {"CPU": 1.0} | ({"GPU": share} if share else {})
    context = SimpleNamespace(get_assigned_resources=lambda: resources)
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path))
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)
    monkeypatch.setattr("serve.app.listen_on_node_address", lambda: None)
    monkeypatch.setattr("serve.app.prepare_process", lambda gpus: did.append(("prepare", gpus)))
    monkeypatch.setattr(
        "align.gpu_preflight.check_card",
        lambda gpus, needs: did.append(("check", gpus)) if needs.weights else None,
    )
    monkeypatch.setattr("serve.app.limit_memory", lambda gpus: did.append(("limit", gpus)))
    monkeypatch.setattr("align.inference.load_engine", lambda *_: (_ for _ in ()).throw(Loading()))
    with pytest.raises(Loading):
        EngineReplica.func_or_class(AppArgs(base=BASE, home=str(tmp_path)), None)
    claimed = [("check", share), ("limit", share)] if share else []
    assert did == [("prepare", share), *claimed]


class LosingEngine(FakeEngine):
    """An engine whose GPU is lost by a certain prompt, in the process that hears it."""

    def tokenize_chat(
        self, messages: Messages, generate: bool = True, options: ChatOptions = PLAIN_CHAT
    ) -> list[int]:
        if messages[-1]["content"] == "lose the GPU":
            self.lose(RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors"))
        return super().tokenize_chat(messages, generate, options)


class LosingReplica(Worker):
    """A replica around it, as `EngineReplica` is around a real engine."""

    def __init__(self, args: AppArgs, _tally: Any) -> None:
        listen_on_node_address()
        engine = LosingEngine()
        super().__init__(engine, lambda _: Path(), FakeVocabulary(engine.words), args.limits())


def losing(args: AppArgs) -> Any:
    from ray import serve

    return compose(args, serve.deployment(name="EngineReplica")(LosingReplica))


def engine_processes() -> set[int]:
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "EngineReplica" in " ".join(process.cmdline()):
                found.add(process.pid)
    return found


def test_a_replica_that_lost_its_gpu_is_replaced_and_answers_again(tmp_path: Path) -> None:
    def ask(content: str) -> str:
        messages: Any = [{"role": "user", "content": content}]
        answer = connect(url).chat.completions.create(model="base", messages=messages, seed=3)
        return str(answer.choices[0].message.content)

    def answers() -> bool:
        with suppress(openai.InternalServerError):
            return ask("hello") == "base hears 5 seed 3"
        return False

    with (
        installation(tmp_path) as settings,
        ray_session(settings, num_cpus=1),
        running_server(settings, BASE, cpus=1, application=losing) as url,
    ):
        assert answers()
        before = engine_processes()
        for content in ("lose the GPU", "hello"):
            with pytest.raises(openai.InternalServerError, match="device-side assert") as raised:
                ask(content)
            assert raised.value.status_code == 503 and raised.value.code == "engine_lost"
        wait_until(answers, "a new replica answers")
        assert len(before) == 1 and engine_processes() - before
