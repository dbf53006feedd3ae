"""Intervals, comparisons and rewards on numbers that can be checked by hand."""

import pytest
import torch

from align.precision import choose
from align.stages.measures import Evaluation, bounded, objective, paired, wilson
from align.stages.rewards import Judge, Rewards, brevity, correctness


def test_wilson_interval_of_a_known_share():
    low, high = wilson(50, 100)
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 200)[0] == 0.0 and wilson(0, 200)[1] < 0.03


def test_paired_bootstrap_sees_a_steady_difference_that_means_hide():
    theirs = [float(index % 7) for index in range(200)]
    result = paired([value + 0.1 for value in theirs], theirs)
    assert result.difference == pytest.approx(0.1)
    assert result.low == pytest.approx(0.1) and result.high == pytest.approx(0.1)
    null = paired(theirs, theirs[::-1])
    assert null.low <= 0 <= null.high


@pytest.mark.parametrize(
    ("text", "answer", "reward"),
    [
        ("3 + 4 = 7. The answer is 7.", "7", 1.0),
        ("The answer is 7, I think, of 8", "7", 0.0),
        ("It is 1,234.", "1234", 1.0),
        ("-5", "-5", 1.0),
        ("5", "-5", 0.0),
        ("no number", "7", 0.0),
        ("7.0", "7", 1.0),
    ],
)
def test_correctness_takes_the_last_number(text, answer, reward):
    assert correctness(text, answer) == reward


def test_weighted_rewards():
    rewards = Rewards({"correctness": 1.0, "brevity": 0.2, "reward_model": 0.3})
    parts = rewards.parts([[], []], ["7", "x" * 300], ["7", "7"])
    assert parts == {"correctness": [1.0, 0.0], "brevity": [0.995, 0.0]}
    assert rewards.total(parts) == pytest.approx([1.199, 0.0])
    assert brevity("") == 1.0


def test_a_judges_score_is_read_against_its_own_good_answers():
    judge = Judge(engine=None, adapter="rm", mean=8.0, std=0.5)
    assert judge.preference(8.0) == 0.5
    assert judge.preference(8.5) > 0.7 > 0.3 > judge.preference(7.5)
    assert 0.0 <= judge.preference(-1e9) < judge.preference(1e9) <= 1.0


def test_length_bound_puts_long_winded_trials_below_all_others():
    assert bounded(0.6, 110, 100, 1.2) == 0.6
    assert bounded(0.9, 130, 100, 1.2) < bounded(0.0, 110, 100, 1.2)
    assert bounded(0.9, 130, 100, None) == 0.9


def test_objective_of_what_was_not_measured_is_nan():
    assert objective("accuracy", Evaluation("", "test", correct=[1.0, 0.0])) == 0.5
    assert objective("reward", Evaluation("", "test")) != objective("reward", Evaluation("", "t"))


@pytest.mark.parametrize(
    ("device", "capability", "avx", "dtype"),
    [
        ("cuda", (7, 5), False, torch.float16),  # a T4, which claims bf16 by emulation
        ("cuda", (8, 0), False, torch.bfloat16),
        ("cuda", (9, 0), True, torch.bfloat16),
        ("cpu", None, True, torch.bfloat16),
        ("cpu", None, False, torch.float32),
    ],
)
def test_one_dtype_policy(device, capability, avx, dtype):
    choice = choose(device, capability, avx)
    assert choice.dtype == dtype
    assert choice.args["bf16"] == (dtype == torch.bfloat16)
    assert choice.args["fp16"] == (dtype == torch.float16)
