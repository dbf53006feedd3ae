"""The results of rewards on samples: parts, statistics and remarks. Plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from statistics import fmean, pstdev

from align.rewards.builtin.correctness import Correctness
from align.rewards.mathematics import installed, is_expression
from align.rewards.reward_diagnostics import tells
from align.rewards.reward_sum import RewardFailure, Rewards, columns_of
from align.rewards.samples import Sample, grouped

#: Thresholds from which a diagnostic is worth a remark.
_CORRELATED, _REPETITIVE, _CUT = 0.5, 0.3, 0.5
_ALIKE = 1e-8


@dataclass(frozen=True)
class Figures:
    """A reward's statistics over the samples for which it gave a number; NaN if there are none.

    `std` is the population standard deviation over all prompts.
    """

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
    """Samples with their rewards (lists in the samples' order), and diagnostics of these."""

    samples: list[Sample]
    parts: dict[str, list[float]]
    total: list[float]
    figures: dict[str, Figures]
    failures: list[RewardFailure]
    tells: dict[str, float]
    remarks: list[str]

    @property
    def groups(self) -> list[list[int]]:
        """Indices of the samples, grouped by prompt."""
        indices = count()
        return [[next(indices) for _ in group] for group in grouped(self.samples)]


def try_rewards(rewards: Rewards, samples: list[Sample]) -> RewardReport:
    """Every reward on every sample. DataError if a column that a reward needs is missing."""
    prompts, texts = [sample.prompt for sample in samples], [sample.text for sample in samples]
    parts = rewards.parts(prompts, texts, columns_of([sample.columns for sample in samples]))
    total = rewards.total(parts)
    values = iter(total)
    groups = [[next(values) for _ in group] for group in grouped(samples)]
    truncated = [sample.truncated for sample in samples if sample.truncated is not None]
    lengths = [float(len(text)) for text in texts]
    diagnostics = tells(total, lengths, groups, texts, [float(flag) for flag in truncated])
    figures = {name: Figures.of(rewards.weights[name], values) for name, values in parts.items()}
    remarks = [
        *_of_rewards(figures),
        *_of_answers(rewards, samples),
        *_of_tells(diagnostics, groups, len(truncated)),
    ]
    return RewardReport(samples, parts, total, figures, rewards.failures, diagnostics, remarks)


def _of_rewards(figures: dict[str, Figures]) -> list[str]:
    remarks = []
    for name, reward in figures.items():
        if reward.failed:
            remarks.append(
                f"{name} gave no number for {reward.failed} of {reward.count} completions: "
                "it counts nothing there"
            )
        if reward.count - reward.failed > 1 and reward.std <= _ALIKE:
            which = "all the others" if reward.failed else "every completion"
            remarks.append(f"{name} is {reward.mean:.3g} for {which}, so it teaches nothing")
    return remarks


def _of_answers(rewards: Rewards, samples: Sequence[Sample]) -> list[str]:
    """A remark on expressions of which only the last number would be compared."""
    config = rewards.configs.get("correctness")
    if not isinstance(config, Correctness) or config.verify != "auto" or installed():
        return []
    answers = [str(sample.columns.get("answer", "")) for sample in samples]
    if not (expressions := [answer for answer in answers if is_expression(answer)]):
        return []
    return [
        f"{len(expressions)} of {len(answers)} answers are expressions, such as {expressions[0]}; "
        "without math-verify only last numbers are compared: pip install 'alignery[math]'"
    ]


def _of_tells(
    diagnostics: dict[str, float], groups: Sequence[Sequence[float]], completions: int
) -> list[str]:
    remarks = []
    if share := diagnostics.get("zero_variance_groups"):
        alike, single = round(share * len(groups)), max(map(len, groups)) == 1
        remarks.append(
            "each prompt has one completion: GRPO compares the completions of one prompt"
            if single
            else f"every completion of {alike} of {len(groups)} prompts scores alike: "
            "GRPO learns nothing from them"
        )
    if abs(r := diagnostics.get("reward_length_correlation", 0.0)) >= _CORRELATED:
        which = "longer" if r > 0 else "shorter"
        remarks.append(f"the reward follows length (r = {r:.2f}): {which} completions get more")
    if (share := diagnostics.get("repetition", 0.0)) >= _REPETITIVE:
        remarks.append(f"{share:.0%} of a completion's 4-grams repeat earlier ones of it")
    if (share := diagnostics.get("truncated", 0.0)) >= _CUT:
        remarks.append(
            f"{round(share * completions)} of {completions} completions were cut at the token "
            "limit: what they would have ended in is not rewarded"
        )
    return remarks
