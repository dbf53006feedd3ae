"""What a key has used up: requests in the last minute, tokens in the calendar's day."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from serve.access.key import Key, digest_of, new_secret
from serve.access.limits import Counter

FREE = Key("k1", "it", "0" * 64, frozenset({"infer"}), None, None, datetime(2026, 1, 1, tzinfo=UTC))
EVENING = datetime(2026, 1, 31, 22, 30, 15, 250_000, tzinfo=UTC)


class Day:
    """A counter whose clock a test sets."""

    def __init__(self, now: datetime = EVENING) -> None:
        self.now = now
        self.counter = Counter(lambda: self.now)

    def admit(self, key: Key) -> float:
        return asyncio.run(self.counter.admit(key))

    def spend(self, key: Key, tokens: int) -> None:
        asyncio.run(self.counter.spend(key, tokens))


def test_a_key_without_limits_is_always_admitted() -> None:
    day = Day()
    for _ in range(3):
        day.spend(FREE, 10**9)
        assert day.admit(FREE) == 0


def test_tokens_are_refused_once_the_quota_is_used_up() -> None:
    day, key = Day(), replace(FREE, tokens_per_day=10)
    day.spend(key, 9)
    assert day.admit(key) == 0
    day.spend(key, 1)
    assert day.admit(key) > 0


def test_asking_costs_no_tokens() -> None:
    day, key = Day(), replace(FREE, tokens_per_day=2)
    assert [day.admit(key) for _ in range(5)] == [0] * 5


def test_an_answer_without_tokens_costs_nothing() -> None:
    day, key = Day(), replace(FREE, tokens_per_day=1)
    day.spend(key, 0)
    assert day.admit(key) == 0


def test_the_last_answer_may_overdraw_the_quota() -> None:
    day, key = Day(), replace(FREE, tokens_per_day=10)
    day.spend(key, 9)
    assert day.admit(key) == 0
    day.spend(key, 100)
    assert day.admit(key) > 0


def test_the_wait_is_until_midnight_in_whole_seconds() -> None:
    day, key = Day(), replace(FREE, tokens_per_day=1)
    day.spend(key, 1)
    # 1 h 29 min 44.75 s, rounded up
    assert day.admit(key) == 90 * 60 - 15
    day.now = datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert day.admit(key) == 1
    day.now = datetime(2026, 1, 31, tzinfo=UTC)
    assert day.admit(key) == 24 * 60 * 60


@pytest.mark.parametrize(
    "next_day", [datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)]
)
def test_each_day_of_the_calendar_has_a_quota_of_its_own(next_day: datetime) -> None:
    day, key = Day(), replace(FREE, tokens_per_day=5)
    day.spend(key, 5)
    day.now = next_day
    assert day.admit(key) == 0
    day.spend(key, 5)
    assert day.admit(key) > 0


def test_requests_are_counted_for_each_key() -> None:
    day, key = Day(), replace(FREE, requests_per_minute=2)
    other = replace(key, id="k2")
    assert [day.admit(key) for _ in range(2)] == [0, 0]
    assert 1 <= day.admit(key) <= 60
    assert day.admit(other) == 0


def test_tokens_are_counted_for_each_key() -> None:
    day, key = Day(), replace(FREE, tokens_per_day=5)
    day.spend(key, 5)
    assert day.admit(replace(key, id="k2")) == 0
    assert day.admit(key) > 0


def test_the_wait_for_a_request_is_until_the_oldest_is_a_minute_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1000.25]
    monkeypatch.setattr("limits.storage.memory.time.time", lambda: clock[0])
    monkeypatch.setattr("limits.strategies.time.time", lambda: clock[0], raising=False)

    class Now(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.fromtimestamp(clock[0], UTC)

    monkeypatch.setattr("serve.access.limits.datetime", Now)
    day, key = Day(), replace(FREE, requests_per_minute=1)
    assert day.admit(key) == 0
    clock[0] += 20
    assert day.admit(key) == 40
    clock[0] += 40.5
    assert day.admit(key) == 0


def test_a_request_that_is_refused_for_its_tokens_is_not_counted() -> None:
    day, key = Day(), replace(FREE, requests_per_minute=1, tokens_per_day=1)
    day.spend(key, 1)
    assert day.admit(key) > 60
    day.now = datetime(2026, 2, 1, tzinfo=UTC)
    assert day.admit(key) == 0
    assert 1 <= day.admit(key) <= 60


def test_the_clock_is_utc_unless_told() -> None:
    counter = Counter()
    key = replace(FREE, tokens_per_day=1)
    asyncio.run(counter.spend(key, 1))
    now = datetime.now(UTC)
    left = 24 * 60 * 60 - (now.hour * 60 + now.minute) * 60 - now.second
    wait = asyncio.run(counter.admit(key))
    # At midnight between the two, the quota is new.
    assert wait == 0 or left - 60 <= wait <= left + 60


@pytest.fixture
def known() -> tuple[Key, str]:
    identity, secret = new_secret()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Key(identity, "it", digest_of(secret), frozenset({"infer"}), None, None, at), secret


def test_tokens_are_free_again_at_midnight(known):
    key = replace(known[0], tokens_per_day=10)
    clock = [datetime(2026, 1, 1, 22, tzinfo=UTC)]

    async def go() -> list[float]:
        counter = Counter(lambda: clock[0])
        await counter.spend(key, 10)
        waits = [await counter.admit(key)]
        clock[0] = datetime(2026, 1, 2, 0, 0, 1, tzinfo=UTC)
        return [*waits, await counter.admit(key)]

    assert asyncio.run(go()) == [7200, 0]


def test_a_counter_counts_each_key_for_itself(known):
    key = replace(known[0], requests_per_minute=1)
    other = replace(key, id="other")

    async def ask_all() -> list[float]:
        counter = Counter()
        return [await counter.admit(one) for one in (key, other, key)]

    first, second, third = asyncio.run(ask_all())
    assert first == second == 0 and third >= 1
