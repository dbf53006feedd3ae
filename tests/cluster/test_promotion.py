from datetime import UTC, datetime

import pytest

from cluster.errors import PromotionConflict
from cluster.promotion import ANY, AliasTarget, HistoryEntry, check_expected, rollback_target


def moves(*steps: int | str) -> list[HistoryEntry]:
    """Numbers are promotions to that version, "back" is a rollback to where it leads."""
    history: list[HistoryEntry] = []
    for step in steps:
        target = rollback_target(history) if step == "back" else AliasTarget(int(step), f"id{step}")
        assert target is not None
        action = "rollback" if step == "back" else "promote"
        at = datetime.now(UTC)
        number, identity = target.number, target.adapter_id
        history.append(HistoryEntry("a/b", "x", action, None, None, number, identity, "", at))
    return history


@pytest.mark.parametrize(
    ("history", "leads_to"),
    [
        ((), None),
        ((1,), None),
        ((1, 2), 1),
        ((1, 2, "back"), None),
        ((1, 2, 3, "back"), 1),
        ((1, 2, 3, "back", "back"), None),
        ((1, 2, "back", 3), 1),
        ((1, 2, "back", 3, "back"), None),
        ((1, 2, 1), 2),
        ((1, 2, 1, "back"), 1),
    ],
)
def test_rollback_undoes_promotions_one_by_one(
    history: tuple[int | str, ...], leads_to: int | None
) -> None:
    target = rollback_target(moves(*history))
    assert target == (None if leads_to is None else AliasTarget(leads_to, f"id{leads_to}"))


def test_expectations_that_hold() -> None:
    check_expected("a/b", "x", None, None)
    check_expected("a/b", "x", None, ANY)
    check_expected("a/b", "x", AliasTarget(1, "id1"), "id1")
    check_expected("a/b", "x", AliasTarget(1, "id1"), ANY)


@pytest.mark.parametrize(
    ("now", "expected", "said"),
    [
        (
            AliasTarget(3, "f" * 64),
            "e" * 64,
            "a/b@x points to a/b:3 (ffffffffffff), but eeeeeeeeeeee",
        ),
        (
            AliasTarget(3, "f" * 64),
            None,
            "points to a/b:3 (ffffffffffff), but it was expected not to",
        ),
        (None, "e" * 64, "a/b@x does not exist, but eeeeeeeeeeee was expected"),
    ],
)
def test_a_conflict_says_what_is_there(
    now: AliasTarget | None, expected: str | None, said: str
) -> None:
    with pytest.raises(PromotionConflict) as caught:
        check_expected("a/b", "x", now, expected)
    assert said in str(caught.value)
    assert "alignery adapter history a/b --alias x" in str(caught.value)
