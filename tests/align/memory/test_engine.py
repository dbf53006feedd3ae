"""What the engine takes beside a trainer."""

import pytest

from align.inference.options import EngineOptions
from align.memory.engine import bank_bytes, kv_bytes
from align.memory.machines import GIB
from align.memory.shape import shape_of
from align.memory.workload import LoraSize
from tests.align.memory.workloads import T4, work
from tests.align.shapes import QWEN


def test_the_engine_takes_its_budget_and_a_bank_as_tall_as_the_tallest() -> None:
    shape = shape_of(QWEN, "qwen")
    options = EngineOptions()
    assert kv_bytes(shape, T4, options) == pytest.approx(4 * GIB * 65 / 64, rel=1e-3)
    lora = LoraSize(8, shape.targets(["q_proj"]))
    one = bank_bytes(work(lora=lora), shape, T4, options)
    fused = (896 + 896) + 2 * (896 + 128)  # keys and values grow with the queries
    assert one == 16 * 8 * 24 * fused * 2
    assert bank_bytes(work(lora=lora, beneath=(lora,)), shape, T4, options) == 2 * one
    judged = work(lora=lora, judge=(LoraSize(20, lora.targets), LoraSize(8, lora.targets)))
    assert bank_bytes(judged, shape, T4, options) == 4 * one  # 28, and room is taken by doubling
