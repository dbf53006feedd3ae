from __future__ import annotations

from collections import Counter

import pytest
from scipy import stats

from serve.experiments.assignment import BUCKETS, assign, bucket

USERS = [f"user-{number}" for number in range(20_000)]


def test_a_user_stays_where_they_are():
    assert (
        bucket("sft-or-base", "ada") == bucket("sft-or-base", "ada") == 7274
    )  # pinned: moving it moves users
    first = [assign("a", user, [1, 1]) for user in USERS[:100]]
    assert first == [assign("a", user, [50, 50]) for user in USERS[:100]]


def test_buckets_are_uniform():
    tenths = Counter(bucket("a", user) * 10 // BUCKETS for user in USERS)
    assert set(tenths) == set(range(10))
    assert stats.chisquare(list(tenths.values())).pvalue > 0.001


def test_weights_are_shares():
    seen = Counter(assign("a", user, [0.1, 0.3, 0.6]) for user in USERS)
    shares = [seen[one] / len(USERS) for one in range(3)]
    assert shares == pytest.approx([0.1, 0.3, 0.6], abs=0.012)


def test_experiments_split_independently():
    pairs = Counter((assign("a", user, [1, 1]), assign("b", user, [1, 1])) for user in USERS)
    table = [[pairs[one, other] for other in range(2)] for one in range(2)]
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_rounding_leaves_nobody_out():
    weights = [0.1] * 3
    assert {assign("a", user, weights) for user in USERS} == {0, 1, 2}


@pytest.mark.parametrize(
    ("weights", "last"), [([1, 1], [4999, 9999]), ([0.1, 0.3, 0.6], [999, 3999, 9999])]
)
def test_a_share_is_exact_to_a_bucket(monkeypatch, weights, last):
    placed: list[int] = []
    for at in range(BUCKETS):
        monkeypatch.setattr("serve.experiments.assignment.bucket", lambda *_, at=at: at)
        placed.append(assign("a", "ada", weights))
    ends = [at for at in range(BUCKETS) if at == BUCKETS - 1 or placed[at] != placed[at + 1]]
    assert (sorted(placed) == placed, ends) == (True, last)
