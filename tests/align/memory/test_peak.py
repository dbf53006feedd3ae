"""The most that a step holds: its parts by hand, and what grows with what."""

from dataclasses import replace
from typing import Any

import pytest

from align.memory.machines import GIB, GPUS, Machine
from align.memory.peak import predict
from align.memory.shape import shape_of
from align.memory.workload import LoraSize
from tests.align.memory.workloads import ATTENTION, T4, work
from tests.align.shapes import QWEN


def test_static_parts_by_hand() -> None:
    shape = shape_of(QWEN, "qwen")
    lora = LoraSize(8, shape.targets(ATTENTION))
    peak = predict(work(lora=lora, beneath=(lora, lora)), shape, T4, None)
    assert peak.weights == 2 * 494_032_768
    assert peak.parent == 2 * 2 * 1_081_344
    assert peak.adapter == 16 * 1_081_344
    assert peak.engine == 0
    assert peak.total - peak.overhead == peak.tensors
    assert peak.overhead > GIB // 2
    reward = predict(work(method="reward", scored=0, lora=lora), shape, T4, None)
    assert reward.adapter == 16 * (1_081_344 + 2 * 896)
    assert reward.logits == 0


def test_rollouts_on_a_gpu_hold_the_parents_in_fp32_too() -> None:
    shape, lora = shape_of(QWEN, "qwen"), LoraSize(8, frozenset({"q_proj"}))
    online = work(method="grpo", beneath=(lora,))
    assert predict(online, shape, T4).parent == (2 + 4) * lora.parameters(shape)
    assert predict(replace(online, method="sft"), shape, T4).parent == 2 * lora.parameters(shape)
    cpu = Machine("cpu", 0, "bfloat16", "cpu")
    assert predict(online, shape, cpu).parent == 2 * lora.parameters(shape)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    "larger",
    [{"rows": 2}, {"length": 20}, {"lora": LoraSize(4, frozenset({"q_proj"}))}, {"scored": 8},
     {"lora": LoraSize(2, frozenset({"q_proj", "up_proj"}))}, {"padded": True},
     {"beneath": (LoraSize(2, frozenset({"q_proj"})),)}],
)  # fmt: skip
@pytest.mark.parametrize("machine", [T4, Machine("cpu", 0, "float32", "cpu")])
def test_more_of_anything_needs_more(
    larger: dict[str, Any], machine: Machine, checkpointing: bool
) -> None:
    shape = shape_of(QWEN, "qwen")
    plain = work(checkpointing=checkpointing, length=500, scored=400)
    if "length" in larger or "scored" in larger:
        larger = {name: value * 50 for name, value in larger.items()}
    before = predict(plain, shape, machine).tensors
    assert predict(replace(plain, **larger), shape, machine).tensors >= before
    if "scored" not in larger and "padded" not in larger:
        assert predict(replace(plain, **larger), shape, machine).tensors > before


def test_weights_in_fp32_take_twice_as_much_where_the_others_are_in_fp16() -> None:
    shape = shape_of(QWEN, "qwen")
    plain, held = work(), work(held=1000)
    for machine, more in ((T4, 2000), (GPUS["L4"], 0), (Machine("c", 0, "float32", "cpu"), 0)):
        weights = predict(plain, shape, machine).weights
        assert predict(held, shape, machine).weights == weights + more
