"""Stand-ins: an engine that tells who answered, and adapter folders with no weights in them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from align.adapter import Manifest, adapter_id, write_manifest
from align.errors import AdapterError
from align.inference import Completion, GenerationRequest, OnText

CHAT = {"model": "base", "messages": [{"role": "user", "content": "hello"}], "seed": 3}
BASE = "tiny-random"
CONTEXT = 200


class FakeEngine:
    """Answers "<adapter> hears <prompt length>" word by word; a token is a character or a word."""

    def __init__(self, seconds_per_word: float = 0.0) -> None:
        self.seconds_per_word = seconds_per_word
        self.loaded: set[str] = set()
        self.batches: list[list[GenerationRequest]] = []
        self.threads: set[int] = set()
        self.unloadable: set[str] = set()
        self.finished: list[str] = []
        self.broken = False

    @property
    def context_length(self) -> int:
        return CONTEXT

    def load(self, adapter_id: str, folder: Path) -> None:
        self.threads.add(threading.get_ident())
        if adapter_id in self.unloadable:
            raise AdapterError(f"{folder}: does not fit")
        assert (folder / "manifest.json").exists()
        self.loaded.add(adapter_id)

    def unload(self, adapter_id: str) -> None:
        self.loaded.discard(adapter_id)

    def tokenize_chat(self, messages: Sequence[dict[str, str]], generate: bool = True) -> list[int]:
        self.threads.add(threading.get_ident())
        return [1] * sum(len(message["content"]) for message in messages)

    def generate(
        self, requests: Sequence[GenerationRequest], on_text: OnText | None = None
    ) -> list[Completion]:
        self.threads.add(threading.get_ident())
        if self.broken:
            raise RuntimeError("out of memory")
        self.batches.append(list(requests))
        assert {request.adapter for request in requests} - {None} <= self.loaded
        done = [Completion() for _ in requests]
        active = set(range(len(requests)))
        step = 0
        while active:
            time.sleep(self.seconds_per_word)
            for row in sorted(active):
                if not self._step(requests[row], done[row], step, row, on_text):
                    active.discard(row)
            step += 1
        self.finished = sorted(one.finish_reason for one in done)
        return done

    def _step(
        self,
        request: GenerationRequest,
        done: Completion,
        step: int,
        row: int,
        on_text: OnText | None,
    ) -> bool:
        who = request.adapter[:8] if request.adapter else "base"
        words = [who, " hears", f" {len(request.prompt_ids)}", " seed", f" {request.seed}"]
        if step == len(words):
            done.finish_reason = "stop"
            return False
        done.token_ids.append(step)
        done.text += words[step]
        if on_text and on_text(row, words[step]) is False:
            done.finish_reason = "cancelled"
            return False
        return len(done.token_ids) < request.max_new_tokens

    def score(
        self, conversations: Sequence[Sequence[dict[str, str]]], adapter_id: str
    ) -> list[float]:
        self.threads.add(threading.get_ident())
        assert adapter_id in self.loaded
        return [float(len(messages[-1]["content"])) for messages in conversations]


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
