"""How an engine divides what is free on a card."""

from dataclasses import replace

import pytest

from align.errors import RequestError
from align.inference.memory_plan import (
    GIB,
    DecoderSizes,
    engine_memory,
    graphs_bytes,
    keys_bytes,
    plan_memory,
)
from align.inference.options import BESIDE_TRAINING, EngineOptions

#: Qwen2.5-0.5B in fp16.
QWEN = DecoderSizes(24, 896, 4864, 896, 128, 151_936, 2, 24 * 22_912)
CONTEXT = 32_768
T4 = int(13.3 * GIB)  # free beside the weights


def test_keys_and_values_by_hand() -> None:
    options = EngineOptions(slots=4)
    assert QWEN.token_bytes == 2 * 24 * 128 * 2
    assert keys_bytes(QWEN, options, 100) == 5 * 100 * QWEN.token_bytes
    assert keys_bytes(QWEN, replace(options, cuda_graphs=False), 100) == 400 * QWEN.token_bytes


def test_graphs_take_the_memory_of_the_largest_and_not_of_each() -> None:
    options = EngineOptions(slots=64)
    attention = 64 * 1024 * (2 * 128 * 2 + 11)  # the largest captured step, in one layer
    logits = 2 * 64 * 151_936 * 2  # of that step, and those that all graphs share
    assert graphs_bytes(QWEN, options, 5461) > attention + logits
    assert graphs_bytes(QWEN, options, 5461) < 0.4 * GIB  # 126 pools took 2 to 3 GiB
    assert graphs_bytes(QWEN, replace(options, cuda_graphs=False), 5461) == 0


@pytest.mark.parametrize("free", [2 * GIB, 5 * GIB, T4, 100 * GIB])
@pytest.mark.parametrize("slots", [1, 16, 64])
def test_what_is_free_is_used_and_not_exceeded(free: int, slots: int) -> None:
    options = EngineOptions(slots=slots)
    plan = plan_memory(free, QWEN, options, CONTEXT)
    tokens = plan.kv_bytes // (slots * QWEN.token_bytes)
    assert 16 <= tokens <= CONTEXT and 16 <= plan.max_rank <= 128
    taken = engine_memory(QWEN, options, tokens, plan.max_rank).total
    assert taken <= 0.95 * free
    if tokens < CONTEXT:
        assert engine_memory(QWEN, options, tokens + 1, plan.max_rank).total > 0.95 * free


def test_a_t4_holds_more_than_the_four_gib_of_before() -> None:
    plan = plan_memory(T4, QWEN, EngineOptions(), CONTEXT)
    assert plan.max_rank == 128
    assert plan.kv_bytes > 8 * GIB


def test_a_small_share_gets_a_lower_rank_rather_than_no_keys() -> None:
    plan = plan_memory(3 * GIB, QWEN, EngineOptions(), CONTEXT)
    assert plan.max_rank == 32
    assert plan.kv_bytes > GIB


def test_what_is_asked_for_is_what_is_given() -> None:
    asked = EngineOptions(slots=8, kv_bytes=GIB)
    assert plan_memory(T4, QWEN, asked, CONTEXT).kv_bytes == GIB
    exact = EngineOptions(slots=8, slot_tokens=500)
    assert plan_memory(T4, QWEN, exact, CONTEXT).kv_bytes == 8 * 500 * QWEN.token_bytes
    beside = plan_memory(int(1.5 * GIB), QWEN, BESIDE_TRAINING, CONTEXT)
    assert beside.kv_bytes == 2 * GIB  # the bound of slots that grow; they begin with 256 tokens


@pytest.mark.parametrize(
    ("free", "options", "words"),
    [
        (
            2 * GIB,
            EngineOptions(kv_bytes=4 * GIB),
            r"2\.00 are free.*4\.06 for keys.*kv_gib 0\.\d+",
        ),
        (2 * GIB, EngineOptions(slot_tokens=5000), r"64 slots of 5000 tokens.*would fit"),
        (GIB // 2, EngineOptions(), "fewer slots or adapters, a larger share"),
    ],
)
def test_what_does_not_fit_is_one_line_with_figures(free, options, words) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        plan_memory(free, QWEN, options, CONTEXT)
    assert "\n" not in str(caught.value)


def test_the_size_that_would_fit_does() -> None:
    asked = EngineOptions(kv_bytes=4 * GIB)
    with pytest.raises(RequestError) as caught:
        plan_memory(2 * GIB, QWEN, asked, CONTEXT)
    proposed = float(str(caught.value).rpartition("kv_gib ")[2].split()[0])
    assert proposed > 0.1
    plan_memory(2 * GIB, QWEN, replace(asked, kv_bytes=int(proposed * GIB)), CONTEXT)
