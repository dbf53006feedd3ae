"""Which replica gets a request."""

from __future__ import annotations

from collections import Counter

import pytest

from serve.routing import BALANCE, EASY, ranked

REPLICAS = ["r1", "r2", "r3", "r4"]
ADAPTERS = [f"adapter {number}" for number in range(200)]


def idle(*replicas: str) -> dict[str, int]:
    return dict.fromkeys(replicas or REPLICAS, 0)


def test_an_adapter_has_its_replica_and_adapters_are_spread():
    favourites = {adapter: ranked(adapter, idle())[0] for adapter in ADAPTERS}
    assert favourites == {adapter: ranked(adapter, idle())[0] for adapter in ADAPTERS}
    shares = Counter(favourites.values())
    assert set(shares) == set(REPLICAS) and max(shares.values()) < 80


def test_it_keeps_it_while_the_load_is_easy():
    for adapter in ADAPTERS:
        favourite = ranked(adapter, idle())[0]
        assert ranked(adapter, idle() | {favourite: EASY - 1})[0] == favourite


def test_one_that_has_enough_to_do_gives_way_to_the_next_and_is_the_last_resort():
    for adapter in ADAPTERS:
        first, second, *_ = ranked(adapter, idle())
        busy = ranked(adapter, idle() | {first: 100})
        assert (busy[0], busy[-1]) == (second, first)


def test_no_replica_gets_much_more_than_the_others_of_one_adapters_flood():
    loads = idle()
    for _ in range(400):
        loads[ranked("adapter", loads)[0]] += 1
    assert max(loads.values()) <= BALANCE * 100 + 1


def test_a_replica_that_leaves_moves_only_its_own_adapters():
    for adapter in ADAPTERS:
        first, second, *_ = ranked(adapter, idle())
        without = [one for one in REPLICAS if one != first]
        assert ranked(adapter, idle(*without))[0] == second
        others = [one for one in REPLICAS if one != second]
        assert ranked(adapter, idle(*others))[0] == first


@pytest.mark.parametrize("adapter", [None, "adapter"])
def test_all_replicas_are_tried(adapter):
    loads = {"r1": 3, "r2": 0, "r3": 900, "r4": 20}
    assert sorted(ranked(adapter, loads)) == REPLICAS
    assert ranked(None, loads) == ["r2", "r1", "r4", "r3"]
    assert ranked(adapter, {}) == []
