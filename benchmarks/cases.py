"""What is measured: how many requests for which adapters, and which engines take part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.errors import BenchmarkError

EngineName = Literal["alignery", "peft", "peft_switching", "merged", "vllm", "trl"]

#: Sixteen adapters of these ranks: two of each.
MIXED = (4, 8, 12, 16, 24, 32, 48, 64)
#: The ranks that vLLM can make room for.
VLLM_RANKS = (8, 16, 32, 64)


@dataclass(frozen=True)
class Case:
    """One load. Every completion has exactly `tokens` tokens (None: what the run is set to).

    Request i is for adapter i modulo `adapters`, or by Zipf's law (`zipf`: the k-th most popular
    of the adapters is asked for 1/k times as often as the first, each at least once). Adapter i
    has rank `ranks[i % len(ranks)]`. `bank_slots` is how many adapters an engine may hold at a
    time. One prompt has `long_prompt` tokens, if that is not 0. `completions` are wanted for each
    request; they are sampled at `temperature`, greedy where it is 0.
    """

    name: str
    engines: tuple[EngineName, ...]
    requests: int = 32
    adapters: int = 0
    ranks: tuple[int, ...] = (8,)
    bank_slots: int = 16
    long_prompt: int = 0
    zipf: bool = False
    tokens: int | None = None
    completions: int = 1
    temperature: float = 0.0

    def rank(self, adapter: int) -> int:
        """The rank of the adapter with this number."""
        return self.ranks[adapter % len(self.ranks)]

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """Name of each adapter: rank and number, which determine its weights."""
        return tuple(f"r{self.rank(number)}-{number}" for number in range(self.adapters))

    @property
    def lora_setup(self) -> tuple[int, int] | None:
        """vLLM's (LoRA slots, largest rank) for this case; None where LoRA support stays off."""
        if not self.adapters:
            return None
        return self.bank_slots, next(rank for rank in VLLM_RANKS if rank >= max(self.ranks))

    def request_adapters(self) -> list[str | None]:
        """The adapter of each request, None for the base."""
        names = self.adapter_names
        if not names:
            return [None] * self.requests
        if not self.zipf:
            return [names[at % len(names)] for at in range(self.requests)]
        shares = zipf_counts(len(names), self.requests)
        return [name for name, share in zip(names, shares, strict=True) for _ in range(share)]


def zipf_counts(adapters: int, requests: int) -> list[int]:
    """How many of the requests each adapter gets, by Zipf's law with exponent 1, at least one."""
    total = sum(1 / k for k in range(1, adapters + 1))
    counts = [max(1, round(requests / total / k)) for k in range(1, adapters + 1)]
    counts[0] += requests - sum(counts)
    return counts


CASES: tuple[Case, ...] = (
    Case("none", ("alignery", "merged", "vllm")),
    Case("k1", ("alignery", "peft", "merged", "vllm"), adapters=1),
    Case("k4", ("alignery", "peft", "peft_switching", "vllm"), adapters=4),
    Case("k16", ("alignery", "peft", "peft_switching", "vllm"), adapters=16),
    Case("k32", ("alignery", "peft", "vllm"), adapters=32, bank_slots=32),
    Case("rank48", ("alignery", "peft", "vllm"), adapters=16, ranks=(48,)),
    Case("mixed", ("alignery", "peft", "vllm"), adapters=16, ranks=MIXED),
    Case("long", ("alignery", "vllm"), adapters=16, long_prompt=2048),
    Case("none-1", ("alignery", "merged", "vllm"), requests=1),
    Case("none-8", ("alignery", "vllm"), requests=8),
    Case("none-64", ("alignery", "vllm"), requests=64),
    Case("k1-1", ("alignery", "merged", "vllm"), requests=1, adapters=1),
    Case("k16-8", ("alignery", "vllm"), requests=8, adapters=16),
    Case("k16-64", ("alignery", "vllm"), requests=64, adapters=16),
    Case("resident64", ("alignery",), requests=128, adapters=64, bank_slots=64, zipf=True),
    Case("overcommit", ("alignery",), requests=128, adapters=64, zipf=True),
    Case(
        "grpo", ("alignery", "trl"), requests=2, adapters=1, tokens=32, completions=8,
        temperature=1.0,
    ),
)  # fmt: skip


def chosen_cases(only: str, tokens: int, quick: bool) -> list[Case]:
    """The cases that `only` names (separated by commas; all if empty), with `tokens` filled in.

    `quick` shortens the long prompt and GRPO's completions. BenchmarkError if a name is unknown.
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {case.name: case for case in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchmarkError(f"no case '{unknown[0]}'; allowed for --only: {', '.join(known)}")
    picked = [case for case in CASES if not names or case.name in names]
    return [_sized(case, tokens, quick) for case in picked]


def _sized(case: Case, tokens: int, quick: bool) -> Case:
    wanted = tokens if case.tokens is None or quick else case.tokens
    return replace(case, tokens=wanted, long_prompt=min(case.long_prompt, 256 if quick else 2048))
