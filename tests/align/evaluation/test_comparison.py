"""What the figures of two adapters on the same held-out items say."""

from typing import Any

import pytest

from align.adapters import Manifest
from align.errors import AdapterError
from align.evaluation.comparison import compare_examples, incomparable, verdict
from align.evaluation.examples import Example
from align.evaluation.statistics import Paired


@pytest.mark.parametrize(
    ("measure", "above", "below"),
    [
        ("accuracy", "better", "worse"),
        ("mean_reward", "better", "worse"),
        ("reward/brevity", "better", "worse"),
        ("win_rate", "better", "worse"),
        ("label_auc", "better", "worse"),
        ("pair_accuracy", "better", "worse"),
        ("implicit_pair_accuracy", "better", "worse"),
        ("nll", "worse", "better"),  # a likelier text has less
        ("length", "more", "less"),  # no side is the good one
        ("kl_per_token", "more", "less"),
    ],
)
def test_a_measure_has_its_good_side(measure: str, above: str, below: str) -> None:
    assert verdict(measure, Paired(0.2, 0.1, 0.3, 9)) == above
    assert verdict(measure, Paired(-0.2, -0.3, -0.1, 9)) == below


@pytest.mark.parametrize(
    ("low", "high"), [(-0.1, 0.3), (0.0, 0.3), (-0.3, 0.0), (float("nan"), float("nan"))]
)
def test_an_interval_that_reaches_zero_says_nothing(low: float, high: float) -> None:
    assert verdict("accuracy", Paired(0.1, low, high, 9)) == "not clearly different"


def test_a_difference_of_shares_is_shown_by_interval_and_test_together() -> None:
    assert verdict("accuracy", Paired(0.1, 0.01, 0.2, 50, 5, 0, 0.0625)) == "not clearly different"
    assert verdict("accuracy", Paired(0.1, 0.01, 0.2, 50, 6, 0, 0.03125)) == "better"


def test_where_there_is_no_interval_the_sign_test_tells() -> None:
    nan = float("nan")
    assert verdict("length", Paired(-0.5, nan, nan, 9, 0, 9, 2 / 2**9)) == "less"
    assert verdict("nll", Paired(0.5, nan, nan, 4, 4, 0, 0.125)) == "not clearly different"


def test_shares_that_never_differ_and_steady_differences_are_compared() -> None:
    ours = [row(str(n), "answers", accuracy=0.0, length=5.0) for n in range(16)]
    theirs = [row(str(n), "answers", accuracy=0.0, length=9.0) for n in range(16)]
    accuracy, length = compare_examples(ours, theirs)
    assert accuracy.gain.low < 0 < accuracy.gain.high
    assert accuracy.verdict == "not clearly different"
    assert length.gain.low != length.gain.low and length.verdict == "less"


def row(key: str, items: str = "pairs", split: str = "test", **numbers: float) -> Example:
    return Example(items, key, split, "asked", numbers=numbers)


def test_an_item_that_the_data_hold_twice_is_paired_with_its_own_place() -> None:
    ours = [row("a", margin=1.0), row("a", margin=5.0), row("b", margin=2.0)]
    theirs = [row("b", margin=2.0), row("a", margin=0.0), row("a", margin=3.0)]
    (found,) = compare_examples(ours, theirs)
    assert found.gain.count == 3 and found.gain.difference == pytest.approx(1.0)
    assert (found.ours, found.theirs) == pytest.approx((8 / 3, 5 / 3))


def test_only_what_both_have_of_an_item_counts() -> None:
    ours = [row("a", margin=1.0, accuracy=1.0), row("b", margin=3.0), row("c", margin=9.0)]
    theirs = [row("a", margin=0.5), row("b", accuracy=1.0), row("d", margin=9.0)]
    (found,) = compare_examples(ours, theirs)
    assert (found.measure, found.gain.count, found.gain.difference) == ("margin", 1, 0.5)


def test_one_key_in_two_sets_is_two_items() -> None:
    ours = [row("a", "answers", length=5.0), row("a", "completions", nll=2.0)]
    theirs = [row("a", "completions", nll=3.0), row("a", "answers", length=4.0)]
    found = {one.measure: one.gain.difference for one in compare_examples(ours, theirs)}
    assert found == {"length": 1.0, "nll": -1.0}


def test_what_is_said_of_the_data_is_not_compared() -> None:
    """Labels of one kind alone have no area either."""
    ours = [row("a", longer_rule=1.0), row("b", "labels", liked=1.0, log_ratio=0.5)]
    theirs = [row("a", longer_rule=0.0), row("b", "labels", liked=1.0, log_ratio=0.2)]
    assert [one.measure for one in compare_examples(ours, theirs)] == ["log_ratio"]


def test_rows_of_two_splits_are_refused() -> None:
    with pytest.raises(AdapterError, match="first was measured on test, the second on validation"):
        compare_examples([row("a", margin=1.0)], [row("a", split="validation", margin=1.0)])


def manifest(**fields: Any) -> Manifest:
    known = {"id": "0" * 64, "base": "b", "base_digest": "1" * 64, "line": "a/b", "rank": 4}
    return Manifest(**{**known, "method": "dpo", **fields})


@pytest.mark.parametrize(
    ("first", "second", "out", "stay"),
    [
        ({}, {}, set(), {"nll", "win_rate", "label_auc", "mean_reward"}),
        (
            {"parents": ["a" * 64, "c" * 64]},
            {"parents": ["a" * 64]},
            set(),  # the grandparents are of no matter
            {"kl_per_token", "label_auc"},
        ),
        (
            {"parents": ["a" * 64]},
            {"parents": []},
            {"kl_per_token", "kl_per_answer", "label_auc", "log_ratio", "win_rate",
             "implicit_margin", "implicit_pair_accuracy"},
            {"nll", "accuracy", "mean_reward", "margin"},
        ),
        (
            {"reward_model": "a" * 64},
            {},
            {"mean_reward", "reward/reward_model", "win_rate"},
            {"accuracy", "reward/brevity"},
        ),
        (
            {"stage": {"rewards": {"brevity": 1.0}}},
            {"stage": {"rewards": {"brevity": 2.0}}},
            {"mean_reward"},
            {"reward/brevity", "win_rate"},  # a part is unweighted
        ),
        ({"method": "reward"}, {}, {"margin"}, {"pair_accuracy"}),
        ({"base_digest": "2" * 64}, {}, {"nll", "tokens", "margin"}, {"accuracy", "length"}),
    ],
)  # fmt: skip
def test_what_means_another_thing_for_each_is_told_apart(
    first: dict[str, Any], second: dict[str, Any], out: set[str], stay: set[str]
) -> None:
    found = incomparable(manifest(**first), manifest(**second))
    assert out <= found.keys() and not stay & found.keys()
    assert incomparable(manifest(**second), manifest(**first)).keys() == found.keys()
