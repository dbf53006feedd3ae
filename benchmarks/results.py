"""Rows of a benchmark and the ratios that are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from benchmarks.cases import Case, EngineName
from benchmarks.contender import Outcome
from benchmarks.reference import Agreement
from benchmarks.workload import Workload


@dataclass
class Row:
    """All runs of one case on one engine."""

    case: Case
    engine: EngineName
    speeds: list[float] = field(default_factory=list)
    prompt_tokens: list[float] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    longest_waits: list[float] = field(default_factory=list)
    stragglers: list[float] = field(default_factory=list)

    def add(self, workload: Workload, outcome: Outcome, agreement: Agreement) -> None:
        """Take in a run."""
        self.speeds.append(workload.generated / outcome.seconds)
        self.prompt_tokens.append(sum(map(len, workload.prompts)) / len(workload.prompts))
        self.agreements.append(agreement)
        if outcome.waits is not None:
            longest = max(first_waits(workload, outcome.waits).values())
            self.longest_waits.append(longest)
            self.stragglers.append(longest / outcome.seconds)

    @property
    def speed(self) -> float:
        """Median tokens a second."""
        return median(self.speeds)

    @property
    def good(self) -> bool:
        """Whether every run wrote what its adapters say."""
        return all(one.good for one in self.agreements)

    def to_json(self) -> dict[str, object]:
        """The row as plain data. Waits are medians in seconds, null where an engine tells none."""
        ranks = sorted({self.case.rank(number) for number in range(self.case.adapters)})
        return {
            "engine": self.engine,
            "case": self.case.name,
            "adapters": self.case.adapters,
            "ranks": ranks,
            "requests": self.case.requests * self.case.completions,
            "tokens": self.case.tokens,
            "mean_prompt_tokens": round(median(self.prompt_tokens), 1),
            "tokens_per_second": round(self.speed, 2),
            "runs": [round(speed, 2) for speed in self.speeds],
            "agreement": round(min(one.mean for one in self.agreements), 4),
            "worst_completion": round(min(one.worst for one in self.agreements), 4),
            "outputs_right": self.good,
            "longest_adapter_wait": _rounded(self.longest_waits),
            "longest_adapter_wait_share": _rounded(self.stragglers),
        }


def first_waits(workload: Workload, waits: Sequence[float]) -> dict[str | None, float]:
    """For each adapter: seconds until the first token of any of its completions."""
    adapters = [name for name in workload.adapters for _ in range(workload.completions)]
    first: dict[str | None, float] = {}
    for name, wait in zip(adapters, waits, strict=True):
        first[name] = min(wait, first.get(name, wait))
    return first


def _rounded(values: Sequence[float]) -> float | None:
    return round(median(values), 3) if values else None


class Ratio(NamedTuple):
    """One row's speed over another's, by (case, engine); what to reach, what to stretch for."""

    meaning: str
    above: tuple[str, EngineName]
    below: tuple[str, EngineName]
    target: float | None = None
    stretch: float | None = None


RATIOS: Mapping[str, Ratio] = {
    "vs_peft_16": Ratio(
        "16 adapters, against PEFT's adapter_names", ("k16", "alignery"), ("k16", "peft"), 5, 9
    ),
    "vs_switching_16": Ratio(
        "16 adapters, against PEFT switching", ("k16", "alignery"), ("k16", "peft_switching")
    ),
    "vs_vllm_16": Ratio("16 adapters, against vLLM", ("k16", "alignery"), ("k16", "vllm"), 2.5, 4),
    "k16_vs_k1": Ratio("16 adapters against 1", ("k16", "alignery"), ("k1", "alignery"), 0.8, 0.95),
    "k1_vs_none": Ratio(
        "1 adapter against none", ("k1", "alignery"), ("none", "alignery"), 0.8, 0.95
    ),
    "none_vs_vllm": Ratio(
        "no adapter, against vLLM without LoRA", ("none", "alignery"), ("none", "vllm"), 0.8, 1
    ),
    "single_vs_vllm": Ratio(
        "one request, against vLLM", ("none-1", "alignery"), ("none-1", "vllm"), 0.9, 1.2
    ),
    "rank48_vs_rank8": Ratio(
        "16 adapters, rank 48 against 8", ("rank48", "alignery"), ("k16", "alignery"), 0.7, 0.85
    ),
    "overcommit": Ratio(
        "64 adapters over 16 slots against all resident",
        ("overcommit", "alignery"),
        ("resident64", "alignery"),
        0.7,
        0.85,
    ),
    "grpo_generation": Ratio(
        "a GRPO rollout, against TRL", ("grpo", "alignery"), ("grpo", "trl"), 3
    ),
}


def ratios(rows: Sequence[Row]) -> dict[str, float | None]:
    """Every ratio, None where a row is missing or its outputs are wrong."""
    speed = {(row.case.name, row.engine): row.speed for row in rows if row.good}
    return {
        name: round(speed[one.above] / speed[one.below], 3)
        if one.above in speed and one.below in speed
        else None
        for name, one in RATIOS.items()
    }
