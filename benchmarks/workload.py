"""The requests of one run: the same token ids for every engine, fresh for each run of a case."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from align.data.arithmetic import Problem, asked, problems
from benchmarks.cases import Case
from benchmarks.errors import BenchmarkError


@dataclass(frozen=True)
class Workload:
    """Prompts and, for each, the name of its adapter (None: the base); see `Case` for the rest."""

    prompts: tuple[tuple[int, ...], ...]
    adapters: tuple[str | None, ...]
    tokens: int
    completions: int
    temperature: float
    seed: int

    @property
    def generated(self) -> int:
        """Tokens that all completions have together."""
        return len(self.prompts) * self.completions * self.tokens


def make_workload(case: Case, repeat: int, tokenizer: Any, tokens: int | None = None) -> Workload:
    """The requests of a case's run number `repeat`; the same arguments give the same prompts.

    `tokens` overrides the case's, for a warm-up.
    """
    seed = zlib.crc32(f"{case.name}/{repeat}".encode())
    stream = problems(seed, "live")
    prompts = [_prompt(stream, tokenizer, 1) for _ in range(case.requests)]
    if case.long_prompt:
        prompts[len(prompts) // 2] = _long(stream, tokenizer, case.long_prompt)
    adapters = case.request_adapters()
    random.Random(seed).shuffle(adapters)
    wanted = tokens if tokens is not None else case.tokens
    assert wanted is not None  # chosen_cases() has filled it in
    return Workload(
        tuple(prompts), tuple(adapters), wanted, case.completions, case.temperature, seed
    )


def _prompt(stream: Iterator[Problem], tokenizer: Any, count: int) -> tuple[int, ...]:
    """A user's turn with `count` problems through the base's template, the answer's turn open."""
    text = " ".join(asked(next(stream))[0]["content"] for _ in range(count))
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
    )
    return tuple(ids)


def _long(stream: Iterator[Problem], tokenizer: Any, length: int) -> tuple[int, ...]:
    """A prompt of exactly `length` tokens: its middle is cut, not the turn that it opens."""
    count, ids = 1, _prompt(stream, tokenizer, 1)
    while len(ids) < length:
        count *= 2
        ids = _prompt(stream, tokenizer, count)
    return ids[: length - 16] + ids[-16:]


def check_lengths(case: Case, workload: Workload, context: int) -> None:
    """BenchmarkError if a prompt and its completion do not fit into the base's context."""
    needed = max(len(prompt) for prompt in workload.prompts) + workload.tokens
    if needed > context:
        raise BenchmarkError(
            f"case '{case.name}' needs {needed} tokens a request, the base has room for {context}: "
            "name other cases with --only, or lower --tokens"
        )
