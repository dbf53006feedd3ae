"""Who has a place in the bank, who gives it up, and who drains for those that wait."""

from __future__ import annotations

from collections import Counter

import pytest

from align.inference.scheduling.adapter_slots import Residency


class Bank:
    """A `Residency` with a queue that tests set themselves: `waiting[adapter]`."""

    def __init__(self, places: int = 2, share: int = 1, kept: set[int] | None = None) -> None:
        self.waiting: Counter[int] = Counter()
        self.residency = Residency(
            places, share, self.waiting.__getitem__, (kept or set()).__contains__
        )

    def seat(self, *adapters: int, live: int = 0) -> None:
        """Give each a place and start so many sequences of it."""
        for adapter in adapters:
            assert self.residency.can_seat(adapter)
            self.residency.seat(adapter)
            self.start(adapter, live)

    def start(self, adapter: int, count: int = 1) -> None:
        for _ in range(count):
            self.residency.started(adapter)

    def end(self, adapter: int, count: int = 1) -> None:
        for _ in range(count):
            self.residency.ended(adapter)

    def admitting(self, *adapters: int) -> list[int]:
        return [one for one in adapters if self.residency.admits(one)]


# Places


def test_places_are_given_from_the_lowest() -> None:
    bank = Bank(places=3)
    bank.seat(7, 8, 9)
    assert [bank.residency.place(one) for one in (7, 8, 9, 10)] == [0, 1, 2, None]
    assert bank.residency.take_changes() == ((), ((7, 0), (8, 1), (9, 2)))


def test_changes_are_told_once() -> None:
    bank = Bank(places=1)
    bank.seat(7)
    bank.seat(8)
    assert bank.residency.take_changes() == ((7,), ((7, 0), (8, 0)))
    assert bank.residency.take_changes() == ((), ())


def test_the_base_is_admitted_without_a_place_and_others_are_not() -> None:
    bank = Bank()
    bank.seat(7)
    assert bank.admitting(0, 7, 8) == [0, 7]
    bank.start(0)
    assert bank.residency.live(0) == 1 and bank.residency.place(0) is None


def test_live_sequences_are_counted() -> None:
    bank = Bank()
    bank.seat(7, live=3)
    bank.end(7)
    assert bank.residency.live(7) == 2 and bank.residency.live(8) == 0
    bank.end(7, 2)
    assert bank.residency.live(7) == 0


def test_a_place_can_be_had_where_one_is_free_or_idle_or_ones_own() -> None:
    bank = Bank(places=2)
    bank.seat(7, live=1)
    assert bank.residency.can_seat(8)  # free
    bank.seat(8)
    assert bank.residency.can_seat(9)  # 8 is idle
    bank.start(8)
    assert not bank.residency.can_seat(9)
    assert bank.residency.can_seat(7)
    bank.end(7)
    assert bank.residency.can_seat(9)


def test_seating_an_adapter_that_has_a_place_moves_nobody() -> None:
    bank = Bank(places=2)
    bank.seat(7, 8)
    bank.residency.take_changes()
    bank.seat(7)
    assert bank.residency.take_changes() == ((), ())
    assert bank.residency.place(7) == 0 and bank.residency.place(8) == 1


def test_seating_where_nobody_is_idle_is_an_error() -> None:
    bank = Bank(places=1)
    bank.seat(7, live=1)
    with pytest.raises(AssertionError, match=r"^seat\(\) without can_seat\(\)"):
        bank.residency.seat(8)


def test_the_least_recently_used_idle_adapter_gives_way() -> None:
    bank = Bank(places=3)
    bank.seat(7, 8, 9, live=1)
    for one in (8, 7, 9):  # in the order in which they ended
        bank.end(one)
    bank.seat(1)
    assert bank.residency.take_changes()[0] == (8,)
    bank.seat(2)
    assert bank.residency.take_changes()[0] == (7,)


def test_an_idle_adapter_that_nobody_waits_for_gives_way_first() -> None:
    bank = Bank(places=2)
    bank.seat(7, 8)
    bank.waiting[7] = 1
    bank.seat(9)
    assert bank.residency.take_changes()[0] == (8,)


def test_of_two_that_somebody_waits_for_how_many_do_not_matter() -> None:
    bank = Bank(places=2)
    bank.seat(7, 8)
    bank.waiting.update({7: 5, 8: 1})
    bank.seat(9)
    assert bank.residency.take_changes()[0] == (7,)


def test_a_kept_adapter_gives_way_last_but_before_one_that_is_waited_for() -> None:
    bank = Bank(places=2, kept={7})
    bank.seat(7, 8)
    bank.seat(9)
    assert bank.residency.take_changes()[0] == (8,)
    bank.waiting[9] = 1
    bank.seat(8)
    assert bank.residency.take_changes()[0] == (7,)


def test_an_adapter_that_comes_back_starts_its_share_anew() -> None:
    bank = Bank(places=1, share=2)
    bank.seat(7, live=2)
    bank.end(7, 2)
    bank.seat(8)
    bank.seat(7, live=1)
    bank.waiting[7] = 1
    bank.residency.settle(1)
    assert bank.admitting(7) == [7]
    bank.start(7)
    bank.residency.settle(1)
    assert bank.admitting(7) == []


# Unloading


def test_a_forgotten_adapter_leaves_once_nothing_of_it_lives_or_waits() -> None:
    bank = Bank(places=2)
    bank.seat(7, live=1)
    bank.waiting[7] = 1
    bank.residency.forget(7)
    assert bank.residency.is_forgotten(7) and not bank.residency.is_forgotten(8)
    bank.residency.leave_if_over(7)
    bank.end(7)
    bank.residency.leave_if_over(7)
    assert bank.residency.place(7) == 0
    bank.start(7)
    del bank.waiting[7]
    bank.residency.leave_if_over(7)
    assert bank.residency.place(7) == 0
    bank.end(7)
    bank.residency.leave_if_over(7)
    assert bank.residency.place(7) is None and not bank.residency.is_forgotten(7)
    assert bank.residency.take_changes() == ((7,), ((7, 0),))


def test_an_adapter_that_is_not_forgotten_stays() -> None:
    bank = Bank()
    bank.seat(7)
    bank.residency.leave_if_over(7)
    assert bank.residency.place(7) == 0


def test_forgetting_an_adapter_without_a_place_evicts_nobody() -> None:
    bank = Bank()
    bank.seat(7)
    bank.residency.forget(8)
    bank.residency.leave_if_over(8)
    assert not bank.residency.is_forgotten(8)
    assert bank.residency.take_changes() == ((), ((7, 0),))


def test_the_lowest_place_that_was_left_is_given_next() -> None:
    bank = Bank(places=3)
    bank.seat(7, 8, 9, live=1)
    for one in (9, 7):
        bank.end(one)
        bank.residency.forget(one)
        bank.residency.leave_if_over(one)
    bank.seat(1, 2)
    assert (bank.residency.place(1), bank.residency.place(2)) == (0, 2)


# Draining


def test_nobody_drains_where_nobody_waits_for_a_place() -> None:
    bank = Bank()
    bank.seat(7, 8, live=1)
    bank.residency.settle(0)
    assert bank.admitting(7, 8) == [7, 8]


def test_idle_adapters_do_not_drain() -> None:
    bank = Bank()
    bank.seat(7, 8)
    bank.residency.settle(1)
    assert bank.admitting(7, 8) == [7, 8]


@pytest.mark.parametrize(
    ("places", "line", "draining"),
    [(1, 1, 1), (2, 1, 1), (2, 2, 1), (3, 3, 1), (4, 1, 1), (4, 2, 2), (4, 9, 2), (5, 9, 2)],
)
def test_one_drains_for_each_in_the_line_and_half_of_the_places_at_most(
    places: int, line: int, draining: int
) -> None:
    bank = Bank(places)
    adapters = range(1, places + 1)
    bank.seat(*adapters, live=1)
    bank.residency.settle(line)
    assert len(bank.admitting(*adapters)) == places - draining
    bank.residency.settle(line)  # nothing has changed
    assert len(bank.admitting(*adapters)) == places - draining


def test_who_has_the_fewest_live_sequences_drains_then_who_has_the_fewest_waiting() -> None:
    bank = Bank(places=4)
    bank.seat(1, live=3)
    bank.seat(2, 3, 4, live=2)
    bank.waiting.update({2: 2, 3: 1, 4: 2})
    bank.residency.settle(1)
    assert bank.admitting(1, 2, 3, 4) == [1, 2, 4]
    bank.residency.settle(2)
    assert bank.admitting(1, 2, 3, 4) == [1, 4]


def test_a_kept_adapter_drains_after_all_others() -> None:
    bank = Bank(places=2, kept={7})
    bank.seat(7, live=1)
    bank.seat(8, live=5)
    bank.residency.settle(1)
    assert bank.admitting(7, 8) == [7]


def test_an_adapter_may_use_its_share_before_it_drains() -> None:
    bank = Bank(places=1, share=3)
    bank.seat(7, live=2)
    bank.waiting[7] = 4
    bank.residency.settle(1)
    assert bank.admitting(7) == [7]
    bank.start(7)
    bank.residency.settle(1)
    assert bank.admitting(7) == []


def test_an_adapter_that_nobody_waits_for_drains_whatever_its_share() -> None:
    bank = Bank(places=1, share=3)
    bank.seat(7, live=1)
    bank.residency.settle(1)
    assert bank.admitting(7) == []


def test_those_that_drain_for_nobody_are_admitted_again() -> None:
    bank = Bank(places=4)
    bank.seat(1, 2, 3, 4, live=1)
    bank.start(2)
    bank.residency.settle(2)
    assert bank.admitting(1, 2, 3, 4) == [2, 4]
    bank.residency.settle(1)
    assert bank.admitting(1, 2, 3, 4) == [2, 3, 4]  # the last that was chosen
    bank.residency.settle(0)
    assert bank.admitting(1, 2, 3, 4) == [1, 2, 3, 4]


def test_an_adapter_that_is_seated_anew_no_longer_drains() -> None:
    bank = Bank(places=1)
    bank.seat(7, live=1)
    bank.residency.settle(1)
    assert bank.admitting(7) == []
    bank.seat(7)
    assert bank.admitting(7) == [7]
    bank.waiting[7] = 1
    bank.residency.settle(1)
    assert bank.admitting(7) == [7]  # its share begins anew


def test_a_drained_adapter_that_gave_its_place_up_does_not_count_as_draining() -> None:
    bank = Bank(places=2)
    bank.seat(7, 8, live=1)
    bank.start(8)
    bank.residency.settle(1)
    assert bank.admitting(7, 8) == [8]
    bank.end(7)
    bank.seat(9, live=3)
    assert bank.admitting(7, 8, 9) == [8, 9]
    bank.residency.settle(1)
    assert bank.admitting(8, 9) == [9]


def test_no_adapter_is_kept_unless_told() -> None:
    residency = Residency(2, 1, lambda _: 0)
    for one in (7, 8):
        residency.seat(one)
    residency.seat(9)
    assert residency.take_changes()[0] == (7,)
