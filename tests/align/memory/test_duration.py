"""Rough seconds of a step."""

import math

from align.memory.duration import step_seconds
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
