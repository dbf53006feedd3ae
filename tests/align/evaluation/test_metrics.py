"""Intervals, comparisons and rewards on numbers that can be checked by hand."""

import math
import random
from statistics import fmean, pstdev

import numpy as np
import pytest
import torch

from align.evaluation.metrics import Evaluation, key_of, objective, paired, wilson
from align.evaluation.statistics import auc, divergence, longer_rule, paired_auc
from align.precision import choose
from align.recipe.rewards import configure
from align.rewards import Judge, Rewards, brevity, correctness


def test_wilson_interval_of_a_known_share():
    low, high = wilson(50, 100)
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 200)[0] == 0.0 and wilson(0, 200)[1] < 0.03


def test_pairs_show_a_steady_difference_that_means_hide():
    theirs = [float(index % 7) for index in range(200)]
    result = paired([value + 0.1 + 0.01 * (value % 3) for value in theirs], theirs)
    assert 0.1 < result.low < result.difference < result.high < 0.12
    null = paired(theirs, theirs[::-1])
    assert null.low <= 0 <= null.high


def test_the_bootstraps_interval_is_that_of_95_percent():
    """At 400 items it is the normal one, 1.96 standard errors to each side; 90 % were 1.64."""
    rng = np.random.default_rng(7)
    ours, theirs = rng.normal(size=(2, 400))
    found = paired(ours, theirs)
    error = (ours - theirs).std(ddof=1) / 20
    assert found.difference - found.low == pytest.approx(1.96 * error, rel=0.08)
    assert found.high - found.difference == pytest.approx(1.96 * error, rel=0.08)
    assert found.count == 400 and found == paired(ours, theirs)


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
    weights = {"correctness": 1.0, "brevity": 0.2, "reward_model": 0.3}
    rewards = Rewards(configure(weights))
    parts = rewards.parts([[], []], ["7", "x" * 300], {"answer": ["7", "7"]})
    assert parts == {"correctness": [1.0, 0.0], "brevity": [0.995, 0.0]}
    assert rewards.total(parts) == pytest.approx([1.199, 0.0])
    assert brevity("") == 1.0


def test_a_judges_score_is_read_against_its_own_good_answers():
    judge = Judge(engine=None, adapter="rm", mean=8.0, std=0.5)
    assert judge.preference(8.0) == 0.5
    assert judge.preference(8.5) > 0.7 > 0.3 > judge.preference(7.5)
    assert 0.0 <= judge.preference(-1e9) < judge.preference(1e9) <= 1.0


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


def test_auc_is_the_share_of_pairs_in_the_right_order():
    assert auc([3.0, 1.0, 2.0, 0.0], [1, 1, 0, 0]) == 0.75
    assert auc([1.0, 1.0], [1, 0]) == 0.5
    assert auc([0.0, 5.0], [1, 0]) == 0.0
    assert math.isnan(auc([1.0, 2.0], [1, 1]))


def test_paired_auc_sees_which_of_two_rankings_is_better():
    liked = [float(index % 2) for index in range(80)]
    right = [one + 0.01 * index for index, one in enumerate(liked)]
    noise = [float(index * 37 % 80) for index in range(80)]
    found = paired_auc(right, noise, liked)
    assert found.difference == auc(right, liked) - auc(noise, liked)
    assert 0 < found.low < found.difference < found.high
    same = paired_auc(right, right, liked)
    assert same.difference == 0.0 and same.low == -same.high < 0


def test_the_interval_of_two_areas_is_that_of_95_percent():
    """Beside DeLong's variance (Biometrics 1988) of the difference of two areas."""
    rng = np.random.default_rng(8)
    liked = np.arange(300) % 3 == 0
    both = rng.normal(size=(2, 300)) + liked * np.array([[1.0], [0.4]])
    better = both[:, liked, None] > both[:, None, ~liked]
    gains = better[0].astype(float) - better[1]
    parts = (gains.mean(1), gains.mean(0))  # of each liked item, of each disliked one
    error = math.sqrt(sum(one.var(ddof=1) / len(one) for one in parts))
    found = paired_auc(*both, liked)
    assert found.difference == pytest.approx(gains.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.08)
    assert found.count == 300


def test_a_single_liked_item_shows_no_difference_of_areas():
    found = paired_auc([9.0, 1.0, 2.0, 3.0], [5.0] * 4, [1, 0, 0, 0])
    assert found.difference == 0.5 and found.low < 0 < found.high
    unknown = paired_auc([1.0, 2.0], [2.0, 1.0], [1, 1])
    assert all(map(math.isnan, (unknown.difference, unknown.low, unknown.high)))


def test_divergence_of_a_known_distribution():
    """Over enough draws both estimators give the sum over outcomes; k3 is never negative."""
    ours, theirs = (0.5, 0.3, 0.2), (0.2, 0.2, 0.6)
    exact = sum(p * math.log(p / q) for p, q in zip(ours, theirs, strict=True))
    draws = random.Random(0).choices(range(3), ours, k=20000)
    found = [divergence([math.log(ours[one])], [math.log(theirs[one])]) for one in draws]
    token, answer = (fmean(one[at] for one in found) for at in range(2))
    assert token == pytest.approx(exact, abs=0.02) and answer == pytest.approx(exact, abs=0.02)
    assert min(one[0] for one in found) >= 0 > min(one[1] for one in found)
    spread = [pstdev(one[at] for one in found) for at in range(2)]
    assert spread[0] < spread[1]
    # A token's is a mean over the answer, an answer's a sum.
    assert divergence([-1.0, -1.0], [-2.0, -2.0]) == (math.exp(-1), 2.0)


def test_the_longer_rule_is_right_where_the_chosen_answer_is_longer():
    assert longer_rule(["long", "one", "same"], ["no", "three", "size"]) == pytest.approx(0.5)
    assert longer_rule(["long", "longer", "x"], ["no", "no", "yy"]) == pytest.approx(2 / 3)


def test_what_failed_counts_nothing_and_what_was_not_measured_is_absent():
    metrics = Evaluation("", "t", parts={"a": [1.0, math.nan], "b": [math.nan] * 2}).metrics()
    assert metrics == {"reward/a": 1.0}


def test_signs_of_a_gamed_reward_are_among_the_metrics():
    texts = ["word " * 12, "seven different words without any repetition here", "a b c d"]
    one = Evaluation("", "t", texts=texts, lengths=[60.0, 49.0, 7.0], reward=[0.9, 0.8, 0.1])
    metrics = one.metrics()
    assert metrics["reward_length_correlation"] > 0.95
    assert metrics["repetition"] == pytest.approx(8 / 9 / 3)


def test_a_policy_of_dpo_is_judged_by_its_implicit_reward():
    one = Evaluation("", "t", pairs=[1.0, 1.0], margins=[3.0, 1.0], implicit_margins=[-1.0, 0.5])
    assert objective("pair_accuracy", one, "dpo") == 0.5
    assert objective("pair_accuracy", one, "reward") == 1.0
    assert key_of("reward", "grpo") == "mean_reward"
