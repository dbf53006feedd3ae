"""The weighted sum of rewards, and what happens where one fails."""

import math

import pytest

from align.errors import DataError
from align.recipe.rewards import configure
from align.rewards import RewardFailure, Rewards, columns_of
from tests.align.rewards.scoring import ASK, MOODY, parts


def test_a_missing_column_is_the_runs_error_not_a_samples(own):
    with pytest.raises(DataError, match="'correctness' needs the column answer; the rows have: id"):
        parts({"correctness": 1}, ["7"], {"id": [1]})
    rewards = Rewards(own("def score(completion, gold, bonus=0): return 1", "score"))
    with pytest.raises(DataError, match="'score' needs the column gold; the rows have: none"):
        rewards.parts([ASK], ["7"], {})


def test_style_is_paid_for_right_answers_only_where_it_is_multiplied_by_correctness():
    raw = {"correctness": 1.0, "brevity": {"weight": 0.2, "times": "correctness"}}
    scored, rewards = parts(raw, ["7", "8", "The answer is 7"], {"answer": ["7"] * 3})
    assert scored["brevity"] == pytest.approx([1 - 1 / 200, 0, 1 - 15 / 200])
    assert rewards.total(scored) == pytest.approx([1.199, 0, 1.185])


def test_a_factor_that_fails_fails_the_product_and_counts_once(own):
    factor = own(MOODY, "moody")
    raw = {"brevity": {"weight": 1.0, "times": "moody"}, "moody": factor["moody"]}
    rewards = Rewards(configure(raw))
    scored = rewards.parts([ASK] * 2, ["raise", "fine"], {})
    assert math.isnan(scored["brevity"][0]) and scored["brevity"][1] == pytest.approx(0.49)
    assert rewards.failures_by_reward == {"moody": 1}


BAD = ["raise", "nan", "inf", "none", "text", "list"]


def test_a_reward_that_fails_fails_that_sample_with_its_text(own):
    configs = {**own(MOODY, "moody", weight=2.0), **configure({"brevity": 1.0})}
    rewards = Rewards(configs)
    found = rewards.parts([ASK] * 7, [*BAD, "fine"], {})
    assert [math.isnan(one) for one in found["moody"]] == [True] * 6 + [False]
    total = rewards.total(found)
    assert total[0] == pytest.approx(1 - 5 / 200) and total[6] == pytest.approx(1.0 + 0.98)
    assert rewards.failed == 6
    assert rewards.failures[0] == RewardFailure(
        "moody", "What is 3 + 4?", "raise", "KeyError: 'lost'"
    )
    assert "returned None, which is no finite number" in rewards.failures[3].error


def test_failures_are_kept_for_each_reward_and_all_are_counted(own):
    configs = {**own(MOODY, "moody"), **configure({"correctness": 1.0})}
    rewards = Rewards(configs)
    rewards.parts([ASK] * 500, ["raise"] * 500, {"answer": [None] * 500})
    assert rewards.failures_by_reward == {"moody": 500, "correctness": 500}
    assert 2 <= len({one.reward for one in rewards.failures}) <= len(rewards.failures) <= 100
    assert "no 'answer'" in rewards.failures[-1].error


def test_an_interrupt_is_no_failure(own):
    rewards = Rewards(own("def stop(completion): raise KeyboardInterrupt", "stop"))
    with pytest.raises(KeyboardInterrupt):
        rewards.parts([ASK], ["x"], {})


def test_columns_of_rows_that_differ():
    rows = [{"prompt": ASK, "answer": "7"}, {"prompt": ASK, "id": 3}]
    assert columns_of(rows) == {"answer": ["7", None], "id": [None, 3]}
