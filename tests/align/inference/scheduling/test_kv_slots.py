"""Which KV slot a sequence gets, what is retained in it, and whose prefix can be copied."""

from __future__ import annotations

from array import array
from itertools import count

import pytest

from align.inference.scheduling.kv_slots import WORTHWHILE, KvSlots, Prefix, shared_prefix
from align.inference.scheduling.sequence import Sequence

_IDS = count()


def sequence(prompt: range | tuple[int, ...], adapter: int = 1, reusable: int = 999) -> Sequence:
    tokens = tuple(prompt)
    return Sequence(next(_IDS), adapter, tokens, 8, min(reusable, len(tokens) - 1))


def live(slots: KvSlots, prompt: range | tuple[int, ...], adapter: int = 1) -> Sequence:
    """A sequence that has a slot, and whose prompt is computed."""
    made = sequence(prompt, adapter)
    slots.take(made, None)
    made.computed = len(made.prompt)
    return made


def left(slots: KvSlots, prompt: range | tuple[int, ...], adapter: int = 1) -> int:
    """The slot in which a sequence that is over was retained."""
    made = live(slots, prompt, adapter)
    slot = made.slot
    assert slot is not None
    slots.release(made, retain=True)
    return slot


# Common prefixes


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1, 2, 3), (1, 2, 3), 3),
        ((1, 2, 3), (1, 2, 4), 2),
        ((1, 2, 3), (1, 5, 3), 1),
        ((1, 2, 3), (4, 2, 3), 0),
        ((1, 2, 3, 4, 5), (1, 2), 2),
        ((1, 2), (1, 2, 3, 4, 5), 2),
        ((1,), (1,), 1),
    ],
)
def test_the_common_prefix_is_as_long_as_both_agree(
    a: tuple[int, ...], b: tuple[int, ...], expected: int
) -> None:
    assert shared_prefix(array("q", a), array("q", b), 0, 9) == expected


@pytest.mark.parametrize("length", range(1, 40))
def test_any_length_is_found_exactly(length: int) -> None:
    a = array("q", [*range(length), 900, *range(60)])
    b = array("q", [*range(length), 901, *range(60)])
    assert shared_prefix(a, b, 0, 99) == length
    for beyond in range(length):
        assert shared_prefix(a, b, beyond, 99) == length
    assert shared_prefix(a, b, length, 99) == 0


def test_no_more_than_the_limit_is_shared() -> None:
    a = array("q", range(20))
    assert [shared_prefix(a, a, 0, limit) for limit in (0, 1, 7, 20, 30)] == [0, 1, 7, 20, 20]


def test_what_is_not_longer_than_asked_for_counts_as_nothing() -> None:
    a = array("q", range(20))
    assert shared_prefix(a, a, 9, 9) == 0
    assert shared_prefix(a, a, 9, 10) == 10
    other = array("q", [99, *range(1, 20)])  # alike but for the first token
    assert shared_prefix(a, other, 9, 20) == 0


# Slots


def test_the_lowest_free_slot_is_taken() -> None:
    slots = KvSlots(3, reuse=True)
    made = [live(slots, range(4)) for _ in range(3)]
    assert [one.slot for one in made] == [0, 1, 2]
    slots.release(made[2], retain=False)
    slots.release(made[0], retain=False)
    assert live(slots, range(4)).slot == 0
    assert live(slots, range(4)).slot == 2


def test_free_and_retained_slots_are_available_and_live_ones_are_not() -> None:
    slots = KvSlots(3, reuse=True)
    assert slots.available == 3
    first, second = live(slots, range(4)), live(slots, range(4))
    assert slots.available == 1
    slots.release(first, retain=True)
    assert slots.available == 2 and first.slot is None
    slots.release(second, retain=False)
    assert slots.available == 3 and second.slot is None


def test_without_a_free_slot_the_least_recently_used_is_overwritten() -> None:
    slots = KvSlots(3, reuse=True)
    assert [left(slots, range(n * 100, n * 100 + 20)) for n in range(3)] == [0, 1, 2]
    slots.touch(0)
    assert live(slots, range(900, 904)).slot == 1
    assert slots.find(sequence(range(100, 120))) is None  # what lay there is gone
    assert live(slots, range(910, 914)).slot == 2
    assert live(slots, range(920, 924)).slot == 0
    assert slots.available == 0


def test_touching_a_slot_that_retains_nothing_changes_nothing() -> None:
    slots = KvSlots(2, reuse=True)
    made = live(slots, range(20))
    slots.touch(0)
    slots.touch(1)
    slots.release(made, retain=True)
    assert live(slots, range(100, 104)).slot == 1


def test_nothing_is_retained_without_reuse_or_anything_computed() -> None:
    without = KvSlots(2, reuse=False)
    left(without, range(20))
    assert without.find(sequence(range(20))) is None
    assert live(without, range(20)).slot == 0
    assert without.find(sequence(range(20))) is None  # nor is it shared while it is live
    slots = KvSlots(2, reuse=True)
    unread = sequence(range(20))
    slots.take(unread, None)
    slots.release(unread, retain=True)
    assert live(slots, range(100, 104)).slot == 0  # free, so it comes before slot 1


def test_releasing_a_sequence_that_has_no_slot_is_an_error() -> None:
    with pytest.raises(AssertionError, match=r"^release\(\) of a sequence that is not live"):
        KvSlots(2, reuse=True).release(sequence(range(4)), retain=True)


# Prefixes


def test_a_retained_prefix_is_found_by_its_adapter_alone() -> None:
    slots = KvSlots(3, reuse=True)
    left(slots, range(500, 540))
    slot = left(slots, range(40))
    longer = range(30)
    assert slots.find(sequence(longer)) == Prefix(slot, 29)  # the last token is computed anew
    assert slots.find(sequence(longer, adapter=2)) is None


def test_a_live_sequence_shares_what_it_has_computed_and_no_more() -> None:
    slots = KvSlots(2, reuse=True)
    source = sequence(range(40))
    slots.take(source, None)
    assert slots.find(sequence(range(40))) is None
    source.computed = 25
    assert slots.find(sequence(range(40))) == Prefix(0, 25)
    assert slots.find(sequence(range(40), adapter=2)) is None


def test_only_what_was_computed_is_retained() -> None:
    slots = KvSlots(2, reuse=True)
    source = sequence(range(40))
    slots.take(source, None)
    source.computed = 25
    slots.release(source, retain=True)
    assert slots.find(sequence(range(40))) == Prefix(0, 25)


def test_the_longest_prefix_wins_wherever_it_lies() -> None:
    slots = KvSlots(4, reuse=True)
    left(slots, (*range(20), 900, 901))
    best = left(slots, (*range(30), 900, 901))
    left(slots, (*range(25), 900, 901))
    assert slots.find(sequence(range(40))) == Prefix(best, 30)
    alive = live(slots, (*range(35), 900, 901))
    assert slots.find(sequence(range(40))) == Prefix(alive.slot or 0, 35)


def test_no_more_than_reusable_tokens_are_shared() -> None:
    slots = KvSlots(2, reuse=True)
    left(slots, range(40))
    assert slots.find(sequence(range(40), reusable=20)) == Prefix(0, 20)


@pytest.mark.parametrize(
    ("shared", "length", "worth"),
    [
        (WORTHWHILE, 100, True),
        (WORTHWHILE - 1, 100, False),
        (4, 8, True),  # half of a short prompt
        (3, 8, False),
        (4, 9, False),
        (5, 9, True),
        (15, 31, False),
        (16, 31, True),
    ],
)
def test_a_prefix_is_worth_a_copy_from_16_tokens_or_half_of_the_prompt(
    shared: int, length: int, worth: bool
) -> None:
    slots = KvSlots(2, reuse=True)
    left(slots, (*range(shared), 900))
    found = slots.find(sequence((*range(shared), *range(1000, 1000 + length - shared))))
    assert found == (Prefix(0, shared) if worth else None)


def test_a_slot_that_the_prefix_fills_is_taken_itself() -> None:
    slots = KvSlots(3, reuse=True)
    slot = left(slots, range(20))
    longer = sequence(range(30))
    prefix = slots.find(longer)
    assert prefix == Prefix(slot, 20)
    slots.take(longer, prefix)
    assert longer.slot == slot and slots.available == 2


def test_a_slot_that_holds_more_than_the_prefix_is_left_to_others() -> None:
    slots = KvSlots(3, reuse=True)
    slot = left(slots, range(40))
    shorter = sequence((*range(20), 900, 901))
    prefix = slots.find(shorter)
    assert prefix == Prefix(slot, 20)
    slots.take(shorter, prefix)
    assert shorter.slot == 1
    assert slots.find(sequence(range(40))) == Prefix(slot, 39)


def test_a_live_sequences_slot_is_never_taken() -> None:
    slots = KvSlots(2, reuse=True)
    source = live(slots, range(20))
    longer = sequence(range(30))
    prefix = slots.find(longer)
    assert prefix == Prefix(0, 20)
    slots.take(longer, prefix)
    assert (source.slot, longer.slot) == (0, 1)


# Unloading


def test_what_a_forgotten_adapter_retained_is_free_at_once() -> None:
    slots = KvSlots(4, reuse=True)
    for number, adapter in enumerate((1, 2, 1)):
        left(slots, range(number * 100, number * 100 + 20), adapter)
    slots.forget(1)
    assert slots.find(sequence(range(20), adapter=1)) is None
    assert slots.find(sequence(range(100, 120), adapter=2)) == Prefix(1, 19)
    assert slots.available == 4
    assert [live(slots, range(900, 904)).slot for _ in range(4)] == [0, 2, 3, 1]
