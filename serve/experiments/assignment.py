"""Assignment of users to variants: a pure function of experiment, user and shares."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import accumulate

BUCKETS = 10_000


def bucket(experiment: str, user: str) -> int:
    """A bucket in [0, 10,000) for this user in this experiment.

    SHA-256 salted with the experiment's name, so that two experiments split users independently.
    Names contain no line break, so two different pairs never give the same text.
    """
    digest = hashlib.sha256(f"{experiment}\n{user}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def assign(experiment: str, user: str, weights: Sequence[float]) -> int:
    """Index of the user's variant; the same as long as name and weights do not change.

    `weights` are positive and relative to their sum; a share is exact to 1/10,000.
    """
    place = bucket(experiment, user) + 0.5
    total = sum(weights)
    ends = (BUCKETS * end / total for end in accumulate(weights))
    return next((index for index, end in enumerate(ends) if place < end), len(weights) - 1)
