"""When an alias moves: not before its adapter is ready, and never to one that was called off."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from align.adapters import Manifest
from cluster.registry import AdapterVersion
from serve.catalogue.alias_rollout import RETRY_SECONDS, AliasRollout, Move

ALIAS = "arithmetic/sft@champion"


def version(number: int, base: str = "ours") -> AdapterVersion:
    manifest = Manifest(
        id=f"{number}" * 64,
        base=base,
        base_digest="0" * 64,
        line="arithmetic/sft",
        method="sft",
        rank=2,
    )
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return AdapterVersion(
        "arithmetic/sft", number, manifest.id, "sft", 2, base, manifest, at, ("champion",)
    )


@pytest.fixture
def moves() -> AliasRollout:
    """The alias points to version 1."""
    made = AliasRollout("ours")
    assert made.see({ALIAS: version(1)}, now=0) == []
    return made


def here(moves: AliasRollout) -> int:
    return moves.here[ALIAS].number


def test_a_new_alias_is_there_at_once(moves):
    assert here(moves) == 1 and not moves.pending


def test_an_alias_moves_once_its_adapter_is_ready(moves):
    (move,) = moves.see({ALIAS: version(2)}, now=1)
    assert move == Move(ALIAS, version(2))
    assert here(moves) == 1 and moves.pending[ALIAS].number == 2
    assert moves.see({ALIAS: version(2)}, now=2) == []  # it is being prepared
    moves.prepared(move)
    assert here(moves) == 2 and not moves.pending
    assert moves.see({ALIAS: version(2)}, now=3) == []


def test_one_that_fails_stays_says_why_and_tries_again(moves):
    (move,) = moves.see({ALIAS: version(2)}, now=1)
    moves.failed(move, "damaged", now=2)
    assert here(moves) == 1 and moves.failures[ALIAS].reason == "damaged"
    assert moves.see({ALIAS: version(2)}, now=2 + RETRY_SECONDS / 2) == []
    assert moves.failures[ALIAS].reason == "damaged"
    (again,) = moves.see({ALIAS: version(2)}, now=2 + RETRY_SECONDS)
    moves.prepared(again)
    assert here(moves) == 2 and not moves.failures


def test_a_move_that_was_called_off_is_not_made(moves):
    (move,) = moves.see({ALIAS: version(2)}, now=1)
    assert moves.see({ALIAS: version(1)}, now=2) == []
    moves.prepared(move)
    assert here(moves) == 1 and not moves.pending


def test_a_failure_of_a_move_that_was_called_off_is_forgotten(moves):
    (move,) = moves.see({ALIAS: version(2)}, now=1)
    moves.failed(move, "damaged", now=2)
    moves.see({ALIAS: version(1)}, now=3)
    assert not moves.failures
    (move,) = moves.see({ALIAS: version(2)}, now=4)
    moves.see({ALIAS: version(3)}, now=5)
    moves.failed(move, "damaged", now=6)
    assert not moves.failures


def test_the_failure_of_an_older_target_does_not_hold_up_the_next(moves):
    (move,) = moves.see({ALIAS: version(2)}, now=1)
    moves.failed(move, "damaged", now=2)
    (next_move,) = moves.see({ALIAS: version(3)}, now=2)
    assert next_move.to.number == 3 and not moves.failures
    moves.prepared(next_move)
    assert here(moves) == 3


def test_an_alias_may_move_back_to_what_it_pointed_to_before(moves):
    for number in (2, 1, 2):
        (move,) = moves.see({ALIAS: version(number)}, now=number)
        moves.prepared(move)
        assert here(moves) == number


def test_two_moves_of_one_alias_end_in_the_newer_whichever_is_ready_first(moves):
    (second,) = moves.see({ALIAS: version(2)}, now=1)
    (third,) = moves.see({ALIAS: version(3)}, now=2)
    moves.prepared(third)
    moves.prepared(second)
    assert here(moves) == 3


def test_what_another_endpoint_serves_follows_the_registry_at_once(moves):
    for to in (version(2, "theirs"), version(3, "theirs"), version(1)):
        assert moves.see({ALIAS: to}, now=1) == []
        assert here(moves) == to.number


def test_an_alias_that_is_gone_is_gone_here(moves):
    (move,) = moves.see({ALIAS: version(2)}, now=1)
    moves.see({}, now=2)
    moves.prepared(move)
    assert not moves.here and not moves.pending


def test_a_move_that_nobody_has_seen_is_not_made():
    moves = AliasRollout("ours")
    moves.prepared(Move(ALIAS, version(2)))
    moves.failed(Move(ALIAS, version(2)), "damaged", now=1)
    assert not moves.here and not moves.pending and not moves.failures


def test_a_move_goes_on_being_prepared_while_other_aliases_begin_theirs(moves):
    other = "arithmetic/sft@canary"
    both = {ALIAS: version(1), other: version(1)}
    assert moves.see(both, now=1) == []
    (first,) = moves.see({**both, ALIAS: version(2)}, now=2)
    (second,) = moves.see({ALIAS: version(2), other: version(3)}, now=3)
    assert (first.alias, second.alias) == (ALIAS, other)
    assert moves.see({ALIAS: version(2), other: version(3)}, now=4) == []
    moves.prepared(second)
    moves.prepared(first)
    assert (here(moves), moves.here[other].number) == (2, 3)


def test_an_alias_can_move_back_and_forth(moves):
    """What was prepared, or called off, is prepared anew when it is wanted again."""
    for to, now in ((2, 1), (1, 2), (2, 3)):
        (move,) = moves.see({ALIAS: version(to)}, now=now)
        moves.prepared(move)
        assert here(moves) == to
    (third,) = moves.see({ALIAS: version(3)}, now=4)
    moves.see({ALIAS: version(2)}, now=5)
    moves.failed(third, "damaged", now=6)
    assert moves.see({ALIAS: version(3)}, now=7) == [third]
