"""The predicted speeds follow from counts and costs."""

import pytest

from align.memory.counts import Counts
from align.memory.duration import SPEEDS
from align.memory.machines import GPUS, gpu
from align.memory.roofline import (
    ADAPTERS,
    BANDWIDTH,
    GAP,
    LAUNCH,
    ROWS,
    assumptions,
    pass_seconds,
    predict_engine,
)
from align.memory.shape import shape_of
from tests.align.shapes import QWEN, SMOLLM2

T4 = gpu("T4")
QWEN_SHAPE = shape_of(QWEN, "qwen")


def by_case(rank=16, machine=T4, shape=QWEN_SHAPE):
    return {
        (one.rows, one.adapters, one.prompts, one.graphs): one
        for one in predict_engine(shape, machine, rank)
    }


def test_a_pass_of_one_large_kernel_takes_the_time_of_its_bytes():
    size = 10**10
    seconds = pass_seconds(Counts(1, size, 0), T4, graphs=True)
    assert seconds.low == pytest.approx(size / (BANDWIDTH.high * 320e9) + GAP.low)
    assert seconds.high == pytest.approx(size / (BANDWIDTH.low * 320e9) + GAP.high)
    assert pass_seconds(Counts(1, size, 0), T4, graphs=False) == seconds


def test_a_pass_of_products_takes_the_time_of_its_operations():
    speed, operations = SPEEDS["T4"], 10**13
    seconds = pass_seconds(Counts(0, 1000, operations), T4, graphs=True)
    assert seconds.low == pytest.approx(operations / (speed.fast * 65e12))
    assert seconds.high == pytest.approx(operations / (speed.slow * 65e12))


def test_many_small_kernels_take_the_hosts_time_and_less_in_a_graph():
    eager, graph = (pass_seconds(Counts(2000, 10**6, 0), T4, graphs) for graphs in (False, True))
    assert eager.low == pytest.approx(2000 * LAUNCH.low)
    assert eager.high == pytest.approx(2000 * LAUNCH.high)
    assert graph.low == pytest.approx(2000 * GAP.low, rel=0.01)


def test_every_case_is_predicted_once_with_a_range():
    cases = by_case()
    kinds = ((False, True), (False, False), (True, False))
    assert set(cases) == {
        (rows, adapters, *kind) for rows in ROWS for adapters in ADAPTERS for kind in kinds
    }
    assert len(predict_engine(QWEN_SHAPE, T4, 16)) == len(cases)
    for one in cases.values():
        speed = one.tokens_per_second
        assert 0 < speed.low < speed.high
        tokens = one.rows * (60 if one.prompts else 1)
        assert speed.low == pytest.approx(tokens / one.seconds.high)


@pytest.mark.parametrize("machine", GPUS.values(), ids=GPUS.keys())
@pytest.mark.parametrize("shape", [QWEN, SMOLLM2], ids=["qwen", "smollm2"])
def test_more_rows_are_faster_and_adapters_and_eager_launches_cost(machine, shape):
    cases = by_case(machine=machine, shape=shape_of(shape, "model"))
    speed = {key: one.tokens_per_second.high for key, one in cases.items()}
    for adapters in ADAPTERS:
        for kind in ((False, True), (False, False)):
            assert (
                speed[1, adapters, *kind] < speed[8, adapters, *kind] < speed[32, adapters, *kind]
            )
        for rows in ROWS:
            assert speed[rows, adapters, False, False] <= speed[rows, adapters, False, True]
            assert speed[rows, adapters, False, True] <= speed[rows, 0, False, True]


def test_a_decode_step_of_qwen_reads_its_weights_in_four_milliseconds():
    """0.99 GB at about 250 GB/s."""
    one = by_case()[1, 0, False, True]
    without_gaps = one.seconds.low - one.counts.launches * GAP.low
    assert 0.0035 < without_gaps < 0.0045


def test_assumptions_name_their_figures():
    text = " ".join(assumptions(T4, 24))
    for part in ("not measured", "rank 24", "float16", "70% to 85% of 320 GB/s", "5 to 8 µs"):
        assert part in text
