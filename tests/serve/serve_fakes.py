"""Stand-ins: an engine that tells who answered, and adapter folders with no weights in them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from align.adapters import Manifest, adapter_id, write_manifest
from align.chat_encoder import PLAIN_CHAT, ChatOptions
from align.errors import AdapterError, RequestError
from align.inference.token_bytes import DecodedBytes, TextBytes
from align.inference.types import (
    Completion,
    GenerationRequest,
    Messages,
    OnText,
    TokenLogprobs,
    Traffic,
    Update,
)
from serve.access.limits import Counter
from serve.metrics.aggregator import MetricsAggregator
from tests.waiting import await_until

CHAT = {"model": "base", "messages": [{"role": "user", "content": "hello"}], "seed": 3}
BASE = "tiny-random"
CONTEXT = 200


@dataclass
class Running:
    """A request on its way."""

    request: GenerationRequest
    completion: Completion = field(default_factory=Completion)
    cancelled: bool = False


class FakeEngine:
    """Writes "<adapter> hears <prompt length> seed <seed>", a word a step; a word is a token.

    A prompt's token is a character. A token's log-probability is minus its place, from 1 on. A
    score is the length of what is scored. Works on `slots` sequences at once, oldest first.
    Once paused, each step is made when a test says so.
    """

    def __init__(self, slots: int = 64) -> None:
        self.slots = slots
        self._paused = False
        self._allowed = threading.Semaphore(0)
        self.loaded: set[str] = set()
        self.unloadable: set[str] = set()
        self.kept: set[str] = set()
        self.broken = False
        self.lost: Exception | None = None
        self.failed_steps = 0
        self.words: list[str] = []  # by token id
        self.requests: list[GenerationRequest] = []
        self.chats: list[tuple[bool, ChatOptions]] = []
        self.batches: list[int] = []  # sequences in each step
        self.finished: list[str] = []
        self.threads: set[int] = set()
        self._sequences: dict[int, Running] = {}
        self.traffic = Traffic()

    @property
    def context_length(self) -> int:
        return CONTEXT

    @property
    def busy(self) -> bool:
        return bool(self._sequences)

    def load(self, adapter_id: str, adapter: Any) -> None:
        self.threads.add(threading.get_ident())
        if adapter_id in self.unloadable:
            raise AdapterError(f"{adapter}: does not fit")
        assert (adapter / "manifest.json").exists()
        self.loaded.add(adapter_id)

    def unload(self, adapter_id: str) -> None:
        self.threads.add(threading.get_ident())
        self.loaded.remove(adapter_id)

    def keep(self, adapter_ids: Collection[str]) -> None:
        self.threads.add(threading.get_ident())
        self.kept = set(adapter_ids)

    def tokenize_chat(
        self, messages: Messages, generate: bool = True, options: ChatOptions = PLAIN_CHAT
    ) -> list[int]:
        self.threads.add(threading.get_ident())
        self.chats.append((generate, options))
        return [1] * sum(len(message["content"]) for message in messages)

    def submit(self, request: GenerationRequest) -> list[int]:
        self.threads.add(threading.get_ident())
        if request.adapter is not None and request.adapter not in self.loaded:
            raise AdapterError(f"adapter {request.adapter} is not loaded")
        if 13 in request.logit_bias:
            raise RequestError("logit_bias: there is no token 13")
        assert request.n == 1
        self.requests.append(request)
        self._sequences[len(self.requests)] = Running(request)
        return [len(self.requests)]

    def cancel(self, sequence: int) -> None:
        self.threads.add(threading.get_ident())
        if sequence in self._sequences:
            self._sequences[sequence].cancelled = True

    def step(self) -> list[Update]:
        self.threads.add(threading.get_ident())
        if self._paused:
            assert self._allowed.acquire(timeout=120)
        if self.lost is not None:
            self.failed_steps += 1
            raise self.lost
        if self.broken:
            raise RuntimeError("out of memory")
        live = list(self._sequences.items())[: self.slots]
        started = [identity for identity, one in live if not one.completion.token_ids]
        self.traffic = Traffic(tuple((identity, True) for identity in started))
        updates = [self._advance(identity, one) for identity, one in live]
        self.batches.append(len(live))
        return updates

    def _advance(self, identity: int, one: Running) -> Update:
        done, words = one.completion, _words(one.request)
        text, place = "", len(one.completion.token_ids)
        if one.cancelled:
            done.finish_reason = "cancelled"
        elif one.request.score:
            done.score = float(len(one.request.prompt_ids))
        elif place == len(words) and not one.request.ignore_eos:
            done.finish_reason, done.ended = "stop", 0
        else:
            text = words[place % len(words)]
            done.token_ids.append(self._token(text))
            done.text += text
            if one.request.logprobs is not None:
                top = [(self._token(f"other {at}"), -9.0) for at in range(one.request.logprobs)]
                done.logprobs.append(TokenLogprobs(-1.0 - place, tuple(top)))
        over = not text or len(done.token_ids) == one.request.max_new_tokens
        if over:
            del self._sequences[identity]
            self.finished.append(done.finish_reason)
        return Update(identity, text, done, over)

    def _token(self, word: str) -> int:
        if word not in self.words:
            self.words.append(word)
        return self.words.index(word)

    def pause(self) -> None:
        """Make no step but those that are allowed."""
        self._paused = True

    async def one_step(self) -> None:
        """Let a paused engine, which must have something to do, make one step."""
        before = len(self.batches)
        self._allowed.release()
        await await_until(lambda: len(self.batches) > before, "the engine makes a step")

    def resume(self) -> None:
        """Let a paused engine go on alone."""
        self._paused = False
        self._allowed.release()

    def lose(self, error: Exception) -> None:
        """Fail in every step from now on, as with a device error."""
        self.lost = error

    # What `Engine` has and serving does not use.

    def generate(
        self, requests: Sequence[GenerationRequest], on_text: OnText | None = None
    ) -> list[Completion]:
        raise NotImplementedError

    def score(self, conversations: Sequence[Messages], adapter_id: str) -> list[float]:
        raise NotImplementedError

    def log_probabilities(
        self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], adapter_id: str | None
    ) -> list[float]:
        raise NotImplementedError


def _words(request: GenerationRequest) -> list[str]:
    who = request.adapter[:8] if request.adapter else "base"
    return [who, " hears", f" {len(request.prompt_ids)}", " seed", f" {request.seed}"]


class FakeVocabulary:
    """The words of a `FakeEngine`; a prompt's token is a character."""

    def __init__(self, words: list[str]) -> None:
        self._words = words

    def encode(self, text: str) -> list[int]:
        return [1] * len(text)

    def begin(self) -> TextBytes:
        return DecodedBytes(lambda tokens: "".join(self._words[token] for token in tokens))

    def shows(self, token: int) -> bool:
        return True

    def name(self, token: int) -> bytes:
        raise NotImplementedError


class LocalTally:
    """What is counted over all replicas, where there is only one process."""

    def __init__(self) -> None:
        counter, board = Counter(), MetricsAggregator()
        self.admit, self.spend = counter.admit, counter.spend
        self.report, self.total = board.report, board.total


def make_adapter(folder: Path, content: str, method: str = "sft", base: str = BASE) -> Path:
    """A folder that a registry takes; `content` makes its id."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    (folder / "adapter_model.safetensors").write_text(content)
    manifest = Manifest(
        id=adapter_id(folder),
        base=base,
        base_digest="0" * 64,
        line=f"arithmetic/{method}",
        method=method,
        rank=2,
    )
    write_manifest(folder, manifest)
    return folder


def ask(api: TestClient, path: str = "/v1/chat/completions", **body: Any) -> Any:
    """POST `CHAT` with changes."""
    return api.post(path, json=CHAT | body)
