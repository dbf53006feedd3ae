"""What came of trying rewards on samples: parts, figures, and what looks off. Plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from statistics import fmean, pstdev

from align.rewards.mathematics import installed, is_expression
from align.rewards.reward_diagnostics import tells
from align.rewards.reward_sum import RewardFailure, Rewards, columns_of
from align.rewards.samples import Sample, grouped

#: From where on a tell is worth a sentence.
_CORRELATED, _REPETITIVE, _CUT = 0.5, 0.3, 0.5
_ALIKE = 1e-8


@dataclass(frozen=True)
class Figures:
    """One reward over the samples that it gave a number for (none: NaN); `std` is over all."""

    weight: float
    mean: float
    std: float
    low: float
    high: float
    failed: int
    count: int

    @classmethod
    def of(cls, weight: float, values: Sequence[float]) -> Figures:
        known = [value for value in values if not math.isnan(value)]
        failed, count = len(values) - len(known), len(values)
        if not known:
            return cls(weight, math.nan, math.nan, math.nan, math.nan, failed, count)
        return cls(weight, fmean(known), pstdev(known), min(known), max(known), failed, count)


@dataclass(frozen=True)
class RewardReport:
    """Samples with their rewards (lists in the samples' order), and what can be told of them."""

    samples: list[Sample]
    parts: dict[str, list[float]]
    total: list[float]
    figures: dict[str, Figures]
    failures: list[RewardFailure]
    tells: dict[str, float]
    remarks: list[str]

    @property
    def groups(self) -> list[list[int]]:
        """Which samples complete one prompt together."""
        at = count()
        return [[next(at) for _ in group] for group in grouped(self.samples)]


def try_rewards(rewards: Rewards, samples: list[Sample]) -> RewardReport:
    """Every reward on every sample. DataError if a column that a reward needs is missing."""
    prompts, texts = [one.prompt for one in samples], [one.text for one in samples]
    parts = rewards.parts(prompts, texts, columns_of([one.columns for one in samples]))
    total = rewards.total(parts)
    values = iter(total)
    groups = [[next(values) for _ in group] for group in grouped(samples)]
    cut = [one.truncated for one in samples if one.truncated is not None]
    lengths = [float(len(text)) for text in texts]
    told = tells(total, lengths, groups, texts, [float(one) for one in cut])
    figures = {name: Figures.of(rewards.weights[name], values) for name, values in parts.items()}
    remarks = [
        *_of_rewards(figures),
        *_of_answers(rewards, samples),
        *_of_tells(told, groups, len(cut)),
    ]
    return RewardReport(samples, parts, total, figures, rewards.failures, told, remarks)


def _of_rewards(figures: dict[str, Figures]) -> list[str]:
    told = []
    for name, one in figures.items():
        if one.failed:
            told.append(
                f"{name} gave no number for {one.failed} of {one.count} completions: "
                "it counts nothing there"
            )
        if one.count - one.failed > 1 and one.std <= _ALIKE:
            which = "all the others" if one.failed else "every completion"
            told.append(f"{name} is {one.mean:.3g} for {which}, so it teaches nothing")
    return told


def _of_answers(rewards: Rewards, samples: Sequence[Sample]) -> list[str]:
    """Expressions whose last number alone would be compared."""
    config = rewards.configs.get("correctness")
    if config is None or getattr(config, "verify", None) != "auto" or installed():
        return []
    answers = [str(one.columns.get("answer", "")) for one in samples]
    if not (found := [one for one in answers if is_expression(one)]):
        return []
    return [
        f"{len(found)} of {len(answers)} answers are expressions, such as {found[0]}; without "
        "math-verify only last numbers are compared: pip install 'alignery[math]'"
    ]


def _of_tells(told: dict[str, float], groups: Sequence[Sequence[float]], known: int) -> list[str]:
    found = []
    if share := told.get("zero_variance_groups"):
        alike, single = round(share * len(groups)), max(map(len, groups)) == 1
        found.append(
            "each prompt has one completion: GRPO compares the completions of one prompt"
            if single
            else f"every completion of {alike} of {len(groups)} prompts scores alike: "
            "GRPO learns nothing from them"
        )
    if abs(r := told.get("reward_length_correlation", 0.0)) >= _CORRELATED:
        which = "longer" if r > 0 else "shorter"
        found.append(f"the reward follows length (r = {r:.2f}): {which} completions get more")
    if (share := told.get("repetition", 0.0)) >= _REPETITIVE:
        found.append(f"{share:.0%} of a completion's 4-grams repeat earlier ones of it")
    if (share := told.get("truncated", 0.0)) >= _CUT:
        found.append(
            f"{round(share * known)} of {known} completions were cut at the token limit: "
            "what they would have ended in is not rewarded"
        )
    return found
