"""What is measured, in which order, and what is made of it: decisions without a model."""

from collections import Counter
from itertools import pairwise

import pytest

from benchmarks.cases import CASES, Case, chosen_cases, zipf_counts
from benchmarks.contender import Outcome
from benchmarks.errors import BenchmarkError
from benchmarks.progress import Clock
from benchmarks.reference import Agreement
from benchmarks.results import RATIOS, Row, ratios
from benchmarks.run import Settings, shuffled, taking_part
from benchmarks.workload import Workload

RIGHT, WRONG = Agreement(8, 1.0, 1.0), Agreement(8, 0.98, 0.1)


def workload(*adapters: str | None, tokens: int = 10) -> Workload:
    return Workload(((1, 2, 3),) * len(adapters), adapters, tokens, 1, 0.0, 0)


def row(name: str, engine: str, *seconds: float, agreement: Agreement = RIGHT) -> Row:
    found = Row(next(case for case in CASES if case.name == name), engine)
    for one in seconds:
        found.add(workload(None), Outcome(one, [[0] * 10]), agreement)
    return found


def test_every_adapter_is_asked_for_and_popular_ones_more_often() -> None:
    counts = zipf_counts(64, 128)
    assert sum(counts) == 128 and len(counts) == 64 and min(counts) == 1
    assert counts == sorted(counts, reverse=True) and counts[0] >= 10 * counts[-1]
    case = Case("toy", (), requests=7, adapters=3, ranks=(4, 16))
    assert case.request_adapters() == ["r4-0", "r16-1", "r4-2"] * 2 + ["r4-0"]
    assert Case("toy", (), requests=2).request_adapters() == [None, None]


def test_every_ratio_is_of_engines_that_take_part() -> None:
    taking = {(case.name, engine) for case in CASES for engine in case.engines}
    assert {place for ratio in RATIOS.values() for place in (ratio.above, ratio.below)} <= taking


def test_an_unknown_case_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BenchmarkError, match=r"no case 'k17'; allowed for --only: none, k1, k4"):
        chosen_cases("k16, k17", 48, False)
    chosen = {case.name: case.tokens for case in chosen_cases("grpo, k16", 48, False)}
    assert chosen == {"k16": 48, "grpo": 32}


def test_only_the_peers_asked_for_take_part(tmp_path) -> None:
    def engines(peers, python=None):
        return set(taking_part(Settings("tiny-random", CASES, 1, peers, python)))

    assert engines("none") == {"alignery"}
    assert engines("peft", tmp_path) == {"alignery", "peft", "peft_switching", "merged", "trl"}
    assert engines("all") == engines("peft")
    assert engines("all", tmp_path) == engines("peft") | {"vllm"}


def test_each_round_has_every_run_in_another_order_and_starts_vllm_once_for_each_setup() -> None:
    pairs = [(case, engine) for case in CASES for engine in case.engines]
    order = shuffled(pairs, 3)
    rounds = [order[at : at + len(pairs)] for at in range(0, len(order), len(pairs))]
    assert all(sorted(one) == list(range(len(pairs))) for one in rounds)
    assert len({tuple(one) for one in rounds}) == 3
    for one in rounds:
        setups = [pairs[at][0].lora_setup for at in one if pairs[at][1] == "vllm"]
        changes = sum(a != b for a, b in pairwise(setups))
        assert changes == len(set(setups)) - 1


def test_ratios_are_of_medians_and_null_where_a_peer_is_missing_or_wrong() -> None:
    rows = [
        row("k16", "alignery", 1.0, 2.0, 1.5),
        row("k16", "peft", 9.0),
        row("k16", "peft_switching", 12.0, agreement=WRONG),
    ]
    found = ratios(rows)
    assert set(found) == set(RATIOS)
    assert {name: value for name, value in found.items() if value is not None} == {
        "vs_peft_16": 6.0
    }


def test_one_wrong_completion_among_right_ones_spoils_a_row() -> None:
    assert not row("k16", "peft", 1.0, agreement=WRONG).good
    assert not Agreement(8, 0.85, 0.6).good
    assert Agreement(8, 0.85, 0.6, sampled=True).good


def test_an_adapters_wait_ends_with_its_first_token() -> None:
    found = Row(CASES[0], "alignery")
    load = workload("a", "b", "a", "b")
    found.add(load, Outcome(4.0, [[0] * 10] * 4, [0.5, 3.0, 3.5, 2.0]), RIGHT)
    shown = found.to_json()
    assert shown["longest_adapter_wait"] == 2.0
    assert shown["longest_adapter_wait_share"] == 0.5
    assert shown["tokens_per_second"] == 10.0


def test_time_left_is_what_runs_of_the_same_kind_took() -> None:
    now = iter([0.0, 2.0, 2.0, 12.0, 12.0, 14.0, 14.0])
    clock = Clock(["quick", "slow", "quick", "slow", "new"], lambda: next(now))
    clock.done()
    assert clock.left == 2.0 * 4
    clock.done()
    assert clock.left == 2.0 + 10.0 + 6.0


def test_names_of_adapters_are_distinct_and_give_their_ranks() -> None:
    for case in CASES:
        counted = Counter(case.adapter_names)
        assert len(counted) == case.adapters
        assert {name.split("-")[0] for name in counted} == {
            f"r{case.rank(number)}" for number in range(case.adapters)
        }
