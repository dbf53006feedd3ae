"""What keys have used up: one counter for all ingress replicas."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from limits import RateLimitItemPerDay, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from serve.access.key import Key


class RateLimits(Protocol):
    """Counts for limited keys; behind it one `Counter`, wherever it lives."""

    async def admit(self, key: Key) -> float:
        """Count a request; 0, or the seconds after which one more is allowed."""
        ...

    async def spend(self, key: Key, tokens: int) -> None:
        """Count the tokens of an answered request, prompt and completion."""
        ...


class Counter:
    """`RateLimits` in this process: requests in the last minute, tokens in this UTC day.

    Tokens are counted once they are known, so a key can overdraw its quota by what is under way.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._minutes = MovingWindowRateLimiter(MemoryStorage())
        self._days = FixedWindowRateLimiter(MemoryStorage())

    async def admit(self, key: Key) -> float:
        """See `RateLimits`."""
        if key.tokens_per_day is not None:
            day, now = RateLimitItemPerDay(key.tokens_per_day), self._clock()
            if not self._days.test(day, key.id, f"{now:%F}"):
                return _until(_midnight(now), now)
        if key.requests_per_minute is not None:
            minute = RateLimitItemPerMinute(key.requests_per_minute)
            if not self._minutes.hit(minute, key.id):
                free = self._minutes.get_window_stats(minute, key.id).reset_time
                return _until(datetime.fromtimestamp(free, UTC), datetime.now(UTC))
        return 0.0

    async def spend(self, key: Key, tokens: int) -> None:
        """See `RateLimits`."""
        if key.tokens_per_day is not None and tokens:
            day = RateLimitItemPerDay(key.tokens_per_day)
            # The library's day begins with a key's first token; the date makes it the calendar's.
            self._days.hit(day, key.id, f"{self._clock():%F}", cost=tokens)


def _midnight(now: datetime) -> datetime:
    """The end of the day."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _until(moment: datetime, now: datetime) -> float:
    """Whole seconds to it, at least 1: what a Retry-After may say."""
    return float(max(1, math.ceil((moment - now).total_seconds())))
