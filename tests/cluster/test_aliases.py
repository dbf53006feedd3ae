"""Aliases inside a transaction: where they point, and what is remembered of their moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.aliases import alias_history, locked_alias, move_alias, target_of
from cluster.database import Database
from cluster.promotion import AliasTarget
from cluster.registry import Registry

LINE = "arithmetic/sft"


@pytest.fixture
def targets(registry: Registry, make_adapter: Callable[..., Path]) -> list[AliasTarget]:
    """Two versions of a line."""
    versions = [registry.register(LINE, make_adapter(seed)) for seed in (1, 2)]
    return [AliasTarget(version.number, version.adapter_id) for version in versions]


def test_a_new_alias_comes_from_nowhere_and_the_next_move_from_there(
    database: Database, targets: list[AliasTarget]
) -> None:
    first, second = targets
    with database.session() as session:
        assert target_of(locked_alias(session, LINE, "champion")) is None
        begun = move_alias(session, LINE, "champion", None, first, "promote", "begin")
    with database.session() as session:
        row = locked_alias(session, LINE, "champion")
        assert target_of(row) == first
        moved = move_alias(session, LINE, "champion", row, second, "rollback", "")
    assert (begun.from_number, begun.from_id, begun.to_id) == (None, None, first.adapter_id)
    assert (moved.action, moved.from_number, moved.to_number) == ("rollback", 1, 2)
    with database.session(write=False) as session:
        assert target_of(locked_alias(session, LINE, "champion")) == second
        assert alias_history(session, LINE, "champion") == [begun, moved]
        assert alias_history(session, LINE, "candidate") == []


def test_a_move_that_is_not_committed_leaves_no_trace(
    database: Database, targets: list[AliasTarget]
) -> None:
    with pytest.raises(ZeroDivisionError), database.session() as session:
        move_alias(session, LINE, "champion", None, targets[0], "promote", "")
        _ = 1 / 0
    with database.session(write=False) as session:
        assert locked_alias(session, LINE, "champion") is None
        assert alias_history(session, LINE, "champion") == []
