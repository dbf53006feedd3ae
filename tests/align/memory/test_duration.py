"""Rough seconds of a step."""

import math

import pytest

from align.memory.duration import SPEEDS, Range, speed_of, step_seconds, written
from align.memory.machines import GPUS, Machine
from align.memory.shape import read_shape
from align.memory.workload import workload
from align.recipe import load_recipe

CPU = Machine("CPU", 2**34, "bfloat16", "cpu")


def test_rough_seconds_are_in_the_range_that_was_measured():
    """SFT of SmolLM2, 8 rows of about 73 tokens, took 2.1 to 2.6 s a step on a core of two."""
    recipe, shape = load_recipe("arithmetic"), read_shape("smollm2-135m-instruct")
    work = workload(recipe.stages["sft"].resolve(), shape)
    found = step_seconds(work, shape, CPU, 73)
    assert 1 < found.low < 2.1 and 2.6 < found.high < 5


def test_more_work_takes_longer():
    recipe, shape = load_recipe("arithmetic"), read_shape("smollm2-135m-instruct")
    work = workload(recipe.stages["grpo"].resolve(), shape)
    one, longer = (step_seconds(work, shape, GPUS["T4"], tokens) for tokens in (100, 2000))
    again = step_seconds(work.in_batches_of(work.rows, True), shape, GPUS["T4"], 2000)
    assert one.high < longer.high < again.high
    assert math.isfinite(again.high) and one.low < one.high


def test_ranges_add_up_and_scale_at_both_ends():
    assert Range(1, 2) + Range(10, 20) == Range(11, 22)
    assert Range(1, 2) * 3 == Range(3, 6)
    assert sum([Range(1, 2), Range(3, 4)], Range()) == Range(4, 6)


def test_cores_add_up_and_a_card_has_the_speed_of_its_name():
    one, four = speed_of(CPU), speed_of(CPU, cores=4)
    assert (four.operations, four.bandwidth) == (4 * one.operations, 4 * one.bandwidth)
    assert (four.slow, four.fast) == (one.slow, one.fast)
    t4 = speed_of(GPUS["T4"], cores=4)
    assert (t4.operations, t4.bandwidth) == (65e12, 320e9)
    assert set(SPEEDS) == set(GPUS)


def test_each_answer_token_reads_all_weights_again():
    """A single prompt is bound by the bandwidth, so that twice the answer takes twice as long."""
    shape, t4 = read_shape("smollm2-135m-instruct"), GPUS["T4"]
    short, long = (written(1, 1, answer, shape, t4) for answer in (100, 200))
    assert short.low == pytest.approx(100 * 2 * 134_515_008 / 320e9 / 0.35, rel=0.02)
    assert long.low == pytest.approx(2 * short.low, rel=0.02)
    assert written(64, 1, 100, shape, t4).low == pytest.approx(2 * short.low, rel=0.2)
