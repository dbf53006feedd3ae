"""What the engine takes beside a trainer."""

import pytest

from align.inference.options import BESIDE_TRAINING, EngineOptions
from align.memory.engine import bank_bytes, engine_bytes, graph_bytes, kv_bytes, slot_tokens
from align.memory.machines import GIB, Machine
from align.memory.peak import predict
from align.memory.shape import shape_of
from align.memory.workload import LoraSize
from tests.align.memory.workloads import T4, work
from tests.align.shapes import QWEN


def test_the_engine_takes_its_budget_and_a_bank_as_tall_as_the_tallest() -> None:
    shape = shape_of(QWEN, "qwen")
    options = EngineOptions(kv_bytes=4 * GIB)
    assert kv_bytes(shape, T4, options) == pytest.approx(4 * GIB * 65 / 64, rel=1e-3)
    lora = LoraSize(8, shape.targets(["q_proj"]))
    one = bank_bytes(work(lora=lora), shape, T4, options)
    fused = (896 + 896) + 2 * (896 + 128)  # keys and values grow with the queries
    assert one == 16 * 8 * 24 * fused * 2
    assert bank_bytes(work(lora=lora, beneath=(lora,)), shape, T4, options) == 2 * one
    judged = work(lora=lora, judge=(LoraSize(20, lora.targets), LoraSize(8, lora.targets)))
    assert bank_bytes(judged, shape, T4, options) == 4 * one  # 28, and room is taken by doubling


def test_slots_beside_training_are_as_long_as_the_stages_need() -> None:
    shape, token = shape_of(QWEN, "qwen"), 2 * 24 * 128 * 2
    load = work(generated=700)
    tokens = slot_tokens(load, shape, T4, BESIDE_TRAINING)
    assert tokens == 768  # slots grow by 256 tokens
    assert kv_bytes(shape, T4, BESIDE_TRAINING, tokens) == 33 * 768 * token
    longest = slot_tokens(work(generated=10**6), shape, T4, BESIDE_TRAINING)
    assert longest == 2 * GIB // (32 * token)  # the bound of before
    processor = Machine("cpu", 0, "bfloat16", "cpu")
    assert slot_tokens(load, shape, processor, BESIDE_TRAINING) == longest


def test_short_stages_leave_room_for_more_trials_on_a_card() -> None:
    shape = shape_of(QWEN, "qwen")
    short, long = work(generated=320), work(generated=10**6)
    before, after = (predict(one, shape, T4).total for one in (long, short))
    assert before - after > 1.7 * GIB
    assert T4.holds(after) >= T4.holds(before) + 2


def test_graphs_are_counted_once_for_all_shapes_and_only_on_a_card() -> None:
    shape, options = shape_of(QWEN, "qwen"), BESIDE_TRAINING
    assert 0 < graph_bytes(shape, T4, options, 768) < 0.15 * GIB
    assert graph_bytes(shape, Machine("cpu", 0, "bfloat16", "cpu"), options, 768) == 0
    # Graphs lie beside the training of every method, since their pool is never given back.
    offline, online = work(generated=768), work(generated=768, method="grpo")
    for load in (offline, online):
        assert engine_bytes(load, shape, T4, options) >= graph_bytes(shape, T4, options, 768)
