"""Learning rates from publications."""

import json

import pytest

from sweeps.errors import SweepError
from sweeps.study.published_rates import TABLE, published_rates, read_table


def rates(method, parameters, rank=8, steps=780):
    return [prior.rate for prior in published_rates().priors(method, parameters, rank, steps)]


def test_larger_models_begin_lower_and_larger_ranks_higher():
    small, large = rates("sft", 1.2e9)[0], rates("sft", 70e9)[0]
    assert 1e-4 < large < small < 1e-3
    assert rates("sft", 8e9, rank=64)[0] > rates("sft", 8e9, rank=1)[0]


def test_a_rank_beyond_the_sweeps_counts_as_their_largest():
    assert rates("sft", 8e9, rank=1024) == rates("sft", 8e9, rank=128)


def test_few_steps_go_up_next_and_many_go_down():
    first, second = rates("sft", 0.135e9, steps=40)[:2]
    assert 1.5e-3 < second < 2.5e-3 and second > first
    first, second = rates("sft", 0.135e9, steps=780)[:2]
    assert second < first


@pytest.mark.parametrize(
    ("method", "rate"),
    [("sft", 2e-4), ("reward", 1e-4), ("dpo", 5e-6), ("kto", 5e-6), ("grpo", 1e-5), ("rloo", 1e-5)],
)
def test_a_base_of_unknown_size_begins_with_the_documented_rate(method, rate):
    assert rates(method, None) == [rate]


@pytest.mark.parametrize(("method", "parameters"), [("sft", 120_000), ("dpo", 120_000), ("x", 8e9)])
def test_nothing_is_known_of_toys_and_of_other_methods(method, parameters):
    assert rates(method, parameters) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intercept": 3.0}, "sft.intercept"),
        ({"rank": "steep"}, "sft.rank"),
        ({"ranks": [8, 8]}, "ascending"),
        ({"smallest": 2e12}, "ascending"),
        ({"slope": 1.0}, "sft.slope"),
    ],
)
def test_a_table_with_nonsense_is_refused(tmp_path, change, message):
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    table["sft"] |= change
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(SweepError, match=rf"rates\.json: .*{message}"):
        read_table(path)


@pytest.mark.parametrize("text", ["", "[]", '{"sft": {}}'])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "rates.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SweepError, match=r"rates\.json: "):
        read_table(path)


def test_a_rate_out_of_range_is_refused(tmp_path):
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    table["documented"]["dpo"]["rate"] = -1
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(SweepError, match=r"documented\.dpo\.rate"):
        read_table(path)
