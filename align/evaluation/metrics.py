"""Held-out measurements as plain numbers, and the metrics over them. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev

from align.evaluation.statistics import Paired, auc, compare, longer_rule, paired, wilson
from align.methods import METHODS
from align.rewards.reward_diagnostics import tells

__all__ = [
    "Evaluation",
    "Paired",
    "compare",
    "is_share",
    "key_of",
    "longer_rule",
    "objective",
    "paired",
    "wilson",
]


#: Measures whose value of an item is 0, 1, or 0.5 for a tie.
SHARES = frozenset(
    {
        "accuracy",
        "implicit_pair_accuracy",
        "longer_rule",
        "pair_accuracy",
        "truncated",
        "win_rate",
    }
)


def is_share(measure: str) -> bool:
    """Whether the measure is a share of items, so that its interval is one of shares."""
    return measure in SHARES or measure.startswith("pair_accuracy/")


@dataclass
class Evaluation:
    """A system's results on a split. Lists hold an entry for each item, in the split's order.

    Each list belongs to one of five sets of items; `keys` and `prompts` identify a set's items.

    `answers`: greedy `texts`; `correct` is 0 or 1; `reward` the weighted sum of `parts` (NaN where
    a part failed); `lengths` in characters, `tokens` in tokens; `truncated` 1 where the token limit
    cut the answer; `wins` 1 where the judge prefers it to the parent's, 0.5 on a tie; `kl_tokens`
    and `kl_answers` the divergence from the parent in nats, a token and an answer.
    `pairs`: 1 where the chosen answer was ranked first, 0 where the rejected one was, 0.5 on a tie;
    `margins` chosen minus rejected, in a reward model's scores or nats of summed log-probability;
    `implicit_margins` the same minus the parent's; `longer` the result of the rule "the longer
    answer is right"; `chosen_scores` a reward model's raw scores of the chosen answers.
    `completions`: `nll` nats a token. `labels`: `log_ratios` nats of summed log-probability over
    the parent's, `liked` 1 or 0. `sampled`: the mean reward of sampled answers to a prompt. Empty
    lists were not measured.
    """

    system: str
    split: str
    texts: list[str] = field(default_factory=list)
    correct: list[float] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    lengths: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    truncated: list[float] = field(default_factory=list)
    pairs: list[float] = field(default_factory=list)
    pair_kinds: list[str] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    implicit_margins: list[float] = field(default_factory=list)
    longer: list[float] = field(default_factory=list)
    chosen_scores: list[float] = field(default_factory=list)
    nll: list[float] = field(default_factory=list)
    wins: list[float] = field(default_factory=list)
    kl_tokens: list[float] = field(default_factory=list)
    kl_answers: list[float] = field(default_factory=list)
    log_ratios: list[float] = field(default_factory=list)
    liked: list[float] = field(default_factory=list)
    sampled: list[float] = field(default_factory=list)
    keys: dict[str, list[str]] = field(default_factory=dict)
    prompts: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def numbers(self) -> dict[str, dict[str, list[float]]]:
        """By set and measure, a number for each item; only measures that were taken."""
        implicit = [compare(margin, 0.0) for margin in self.implicit_margins]
        answers = {
            "accuracy": self.correct,
            "mean_reward": self.reward,
            **{f"reward/{name}": values for name, values in self.parts.items()},
            "length": self.lengths,
            "tokens": self.tokens,
            "truncated": self.truncated,
            "win_rate": self.wins,
            "kl_per_token": self.kl_tokens,
            "kl_per_answer": self.kl_answers,
        }
        pairs = {
            "pair_accuracy": self.pairs,
            "margin": self.margins,
            "implicit_pair_accuracy": implicit,
            "implicit_margin": self.implicit_margins,
            "longer_rule": self.longer,
        }
        labels = {"log_ratio": self.log_ratios, "liked": self.liked}
        sets = {
            "answers": answers,
            "pairs": pairs,
            "completions": {"nll": self.nll},
            "labels": labels,
            "sampled": {"sampled_reward": self.sampled},
        }
        return {
            name: measured
            for name, lists in sets.items()
            if (measured := {key: values for key, values in lists.items() if values})
        }

    def metrics(self) -> dict[str, float]:
        """Means by name, only of measures that were taken; NaN entries are left out."""
        sets = self.numbers()
        sets.pop("labels", None)
        lists = {name: values for measured in sets.values() for name, values in measured.items()}
        for kind in sorted(set(self.pair_kinds)):
            lists[f"pair_accuracy/{kind}"] = [
                value
                for value, pair_kind in zip(self.pairs, self.pair_kinds, strict=True)
                if pair_kind == kind
            ]
        means = {
            name: fmean(finite) for name, values in lists.items() if (finite := _finite(values))
        }
        if self.chosen_scores:
            means["chosen_mean"] = fmean(self.chosen_scores)
            means["chosen_std"] = max(pstdev(self.chosen_scores), 1e-6)
        if self.log_ratios:
            means["label_auc"] = auc(self.log_ratios, self.liked)
        if self.texts:
            lengths = self.lengths if self.reward else []
            means |= tells(self.reward, lengths, texts=self.texts)
        return {name: value for name, value in means.items() if math.isfinite(value)}

    def with_(self, other: Evaluation) -> Evaluation:
        """Add the measures and the seconds of `other`; returns this evaluation."""
        for name, value in vars(other).items():
            if isinstance(value, dict):
                getattr(self, name).update(value)
            elif isinstance(value, list) and value:
                setattr(self, name, value)
        self.seconds += other.seconds
        return self


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def key_of(objective: str, method: str) -> str:
    """The name of the metric that is an objective of a method.

    A DPO policy ranks pairs by the log-ratio to its parent, which is DPO's implicit reward over
    beta (Rafailov et al., arXiv 2305.18290, eq. 5), so beta does not enter.
    """
    implied = method in METHODS and "implied" in METHODS[method].measured
    if objective == "pair_accuracy" and implied:
        return "implicit_pair_accuracy"
    return "mean_reward" if objective == "reward" else objective


def objective(name: str, evaluation: Evaluation, method: str = "") -> float:
    """The number that a sweep maximises (or minimises, for `nll`); NaN if it was not measured."""
    return evaluation.metrics().get(key_of(name, method), math.nan)
