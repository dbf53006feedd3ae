"""Whose turn it is among adapters that wait, and what is left when one leaves."""

from __future__ import annotations

import pytest

from align.inference.scheduling.admission import FairQueues
from align.inference.scheduling.sequence import Sequence


def sequence(identity: int, adapter: int) -> Sequence:
    return Sequence(identity, adapter, (1, 2), 1, 0)


def queues(*adapters: int) -> FairQueues:
    """Sequences 0, 1, 2 … of these adapters, in this order."""
    made = FairQueues()
    for identity, adapter in enumerate(adapters):
        made.add(sequence(identity, adapter))
    return made


def test_an_empty_queue_has_no_turn() -> None:
    empty = FairQueues()
    assert len(empty) == 0 and not empty
    assert empty.turn is None and empty.first_in_line is None and empty.line == 0
    assert empty.count(1) == 0 and 0 not in empty


def test_sequences_are_counted_for_each_adapter() -> None:
    made = queues(5, 6, 5)
    assert (len(made), made.count(5), made.count(6), made.count(7)) == (3, 2, 1, 0)
    assert 2 in made and 3 not in made


def test_turns_go_round_and_each_adapter_is_first_in_first_out() -> None:
    made = queues(5, 5, 6, 5, 7)
    taken = []
    while made.turn is not None:
        taken.append(made.take(made.turn).id)
    assert taken == [0, 2, 4, 1, 3]
    assert not made


def test_a_taken_sequence_waits_no_longer() -> None:
    made = queues(5, 5)
    assert made.take(5).id == 0
    assert 0 not in made and 1 in made
    assert len(made) == made.count(5) == 1


def test_a_newcomers_turn_comes_after_those_of_all_others() -> None:
    made = queues(5, 6, 5)
    made.take(5)
    made.add(sequence(9, 7))
    assert [made.take(made.turn or 0).adapter for _ in range(3)] == [6, 5, 7]


def test_an_adapter_in_the_line_has_no_turn() -> None:
    made = queues(5, 6, 7)
    made.join_line(5)
    made.join_line(6)
    assert (made.line, made.first_in_line, made.turn) == (2, 5, 7)
    made.join_line(7)
    assert made.turn is None and made.line == 3
    assert len(made) == 3  # they wait as before


def test_more_sequences_do_not_bring_an_adapter_in_the_line_back_into_the_round() -> None:
    made = queues(5, 6)
    made.join_line(5)
    made.add(sequence(2, 5))
    made.take(6)
    assert made.turn is None and made.first_in_line == 5 and made.count(5) == 2


def test_an_adapter_that_leaves_the_line_joins_the_round_at_its_end() -> None:
    made = queues(5, 5, 6, 7)
    made.join_line(5)
    made.take(5)
    assert made.line == 0 and made.first_in_line is None
    assert [made.take(made.turn or 0).adapter for _ in range(3)] == [6, 7, 5]


def test_whose_last_sequence_is_taken_from_the_line_has_no_turn() -> None:
    made = queues(5, 6)
    made.join_line(5)
    made.take(5)
    assert made.line == 0 and made.turn == 6
    made.take(6)
    assert made.turn is None


def test_a_removed_sequence_is_returned_and_the_others_keep_their_order() -> None:
    made = queues(5, 5, 5, 6)
    assert made.remove(1).id == 1
    assert 1 not in made and made.count(5) == 2 and len(made) == 3
    assert [made.take(made.turn or 0).id for _ in range(3)] == [0, 3, 2]


def test_removing_a_sequence_does_not_cost_its_adapter_its_turn() -> None:
    made = queues(5, 5, 6)
    made.remove(0)
    assert made.turn == 5


def test_without_sequences_an_adapter_has_neither_turn_nor_place_in_the_line() -> None:
    made = queues(5, 6)
    made.remove(0)
    assert made.turn == 6 and made.count(5) == 0
    made.join_line(6)
    made.remove(1)
    assert made.line == 0 and made.first_in_line is None and not made
    made.add(sequence(2, 6))  # comes back as a new adapter
    assert made.turn == 6 and made.line == 0


@pytest.mark.parametrize("identity", [1, 7])
def test_removing_what_does_not_wait_is_a_key_error(identity: int) -> None:
    made = queues(5, 5)
    made.remove(1)
    with pytest.raises(KeyError):
        made.remove(identity)
    assert len(made) == 1
