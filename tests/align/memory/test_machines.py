"""GPUs by name, and how many trials share one."""

from dataclasses import replace

import pytest

from align.errors import RequestError
from align.memory.fit import fit_stages
from align.memory.machines import GIB, Machine, gpu
from align.memory.shape import shape_of
from tests.align.memory.workloads import T4, recipe
from tests.align.shapes import QWEN


def test_trials_share_a_card_with_a_margin() -> None:
    card = replace(T4, memory=1000)
    assert [card.holds(total) for total in (1001, 1000, 475, 476, 95)] == [0, 1, 2, 1, 10]
    shape = shape_of(QWEN, "qwen")
    one = {"method": "sft", "learning_rate": 1e-4, "max_steps": 4, "objective": "nll"}
    on_t4, on_h100 = (
        fit_stages(recipe(sft=one), ["sft"], shape, gpu(name))[0].worst for name in ("t4", "H100")
    )
    assert on_t4.sharing < on_h100.sharing
    assert on_h100.fraction * on_h100.sharing <= 1
    assert on_t4.peak.total * on_t4.sharing <= T4.memory


def test_an_unknown_gpu_names_those_that_are_known() -> None:
    with pytest.raises(RequestError, match=r"unknown GPU 'T5'; allowed: T4, L4, A10G"):
        gpu("T5")


@pytest.mark.parametrize(("name", "capability"), [("P100", "6.0"), ("v100-32", "7.0")])
def test_a_gpu_without_code_in_the_build_says_why(name: str, capability: str) -> None:
    with pytest.raises(
        RequestError, match=rf"'{name}' has compute capability {capability}.* 7.5 on; "
    ):
        gpu(name)


def test_what_a_process_uses_besides_its_tensors() -> None:
    assert T4.overhead(0) == GIB // 2 + 17_039_360  # the context, and two workspaces
    assert T4.overhead(1000) == T4.overhead(0) + 50
    assert Machine("cpu", GIB, "float32", "cpu").overhead(1000) == 0


def test_the_dtype_decides_the_width_and_whether_products_are_cast() -> None:
    cpu = Machine("cpu", GIB, "float32", "cpu")
    assert (cpu.width, cpu.mixed, cpu.dropout_mask) == (4, False, 4)
    assert (T4.dtype, T4.width, T4.mixed, T4.dropout_mask) == ("float16", 2, True, 1)
    assert gpu("h100").dtype == "bfloat16"
