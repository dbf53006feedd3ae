"""Signs of reward hacking and of rewards without a signal. Plain numbers, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from align.rewards.builtin.text import repeated

#: Length, in words, of the n-grams whose repetition is counted.
NGRAM = 4
_ALIKE = 1e-8


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's r over the pairs without NaN; None for fewer than two, or if a side is constant."""
    pairs = [
        (a, b) for a, b in zip(first, second, strict=True) if not (math.isnan(a) or math.isnan(b))
    ]
    if len(pairs) < 2:
        return None
    mean_a, mean_b = fmean(a for a, _ in pairs), fmean(b for _, b in pairs)
    spread_a = math.sqrt(math.fsum((a - mean_a) ** 2 for a, _ in pairs))
    spread_b = math.sqrt(math.fsum((b - mean_b) ** 2 for _, b in pairs))
    if spread_a <= _ALIKE or spread_b <= _ALIKE:
        return None
    products = math.fsum((a - mean_a) * (b - mean_b) for a, b in pairs)
    return max(-1.0, min(1.0, products / (spread_a * spread_b)))


def zero_variance(groups: Sequence[Sequence[float]]) -> float | None:
    """The share of groups whose rewards are all equal: GRPO learns nothing from them.

    NaN is left out, as TRL does; a group with fewer than two rewards teaches nothing either.
    None for no groups. TRL logs the same of training as `frac_reward_zero_std`.
    """
    if not groups:
        return None
    known = [[value for value in group if not math.isnan(value)] for group in groups]
    return fmean(float(len(values) < 2 or max(values) - min(values) <= _ALIKE) for values in known)


def repetition(texts: Sequence[str]) -> float | None:
    """Mean share of repeated 4-grams of words in each text; None for no texts."""
    return fmean(repeated(text, NGRAM) for text in texts) if texts else None


def tells(
    rewards: Sequence[float],
    lengths: Sequence[float],
    groups: Sequence[Sequence[float]] | None = None,
    texts: Sequence[str] | None = None,
    truncated: Sequence[float] | None = None,
) -> dict[str, float]:
    """Diagnostics, by name, of answers with these total rewards and lengths (in any unit).

    `groups` holds the rewards by prompt; `truncated` is 1 if an answer was cut at the token limit,
    else 0. Diagnostics that cannot be computed are absent.
    """
    diagnostics = {
        "reward_length_correlation": correlation(rewards, lengths),
        "zero_variance_groups": zero_variance(groups or []),
        "repetition": repetition(texts or []),
        "truncated": fmean(truncated) if truncated else None,
    }
    return {name: value for name, value in diagnostics.items() if value is not None}
