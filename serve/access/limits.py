"""Rate limits and quotas of API keys, counted once for all ingress replicas."""

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
    """Counts the use of limited keys. All implementations lead to the same `Counter`."""

    async def admit(self, key: Key) -> float:
        """Count a request. Returns 0 if it is allowed, else the seconds until the next may come."""
        ...

    async def spend(self, key: Key, tokens: int) -> None:
        """Count the prompt and completion tokens of an answered request."""
        ...


class Counter:
    """`RateLimits` in this process: requests of the last minute, tokens of the current UTC day.

    Tokens are counted once they are known, so a key can exceed its quota by the tokens of its
    unfinished requests.
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
            # The library's day begins with a key's first token. The date in the identifier makes
            # it a calendar day.
            self._days.hit(day, key.id, f"{self._clock():%F}", cost=tokens)


def _midnight(now: datetime) -> datetime:
    """The end of the day of `now`."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _until(moment: datetime, now: datetime) -> float:
    """Whole seconds from `now` to `moment`, at least 1, as Retry-After requires."""
    return float(max(1, math.ceil((moment - now).total_seconds())))
