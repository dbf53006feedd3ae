"""What keys have used up: one counter for all ingress replicas."""

from __future__ import annotations

import math
import time
from typing import Protocol

from limits import RateLimitItemPerDay, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from serve.access.key import Key


class Limits(Protocol):
    """Counts for limited keys; behind it one `Counter`, wherever it lives."""

    async def admit(self, key: Key) -> float:
        """Count a request; 0, or the seconds after which one more is allowed."""
        ...

    async def spend(self, key: Key, tokens: int) -> None:
        """Count the tokens of an answered request, prompt and completion."""
        ...


class Counter:
    """`Limits` in this process: requests in the last minute, tokens in this UTC day.

    Tokens are counted once they are known, so a key can overdraw its quota by what is under way.
    """

    def __init__(self) -> None:
        self._minutes = MovingWindowRateLimiter(MemoryStorage())
        self._days = FixedWindowRateLimiter(MemoryStorage())

    async def admit(self, key: Key) -> float:
        """See `Limits`."""
        if key.tokens_per_day is not None:
            day = RateLimitItemPerDay(key.tokens_per_day)
            if not self._days.test(day, key.id):
                return _until(self._days.get_window_stats(day, key.id).reset_time)
        if key.requests_per_minute is not None:
            minute = RateLimitItemPerMinute(key.requests_per_minute)
            if not self._minutes.hit(minute, key.id):
                return _until(self._minutes.get_window_stats(minute, key.id).reset_time)
        return 0.0

    async def spend(self, key: Key, tokens: int) -> None:
        """See `Limits`."""
        if key.tokens_per_day is not None and tokens:
            self._days.hit(RateLimitItemPerDay(key.tokens_per_day), key.id, cost=tokens)


def _until(moment: float) -> float:
    """Whole seconds to it, at least 1: what a Retry-After may say."""
    return float(max(1, math.ceil(moment - time.time())))
