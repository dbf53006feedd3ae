"""What a sweep will take, told before anything is started."""

import io
import math
import random
import subprocess
import sys

import pytest
from conftest import RECIPE
from rich.console import Console

from align.memory.duration import Range, step_seconds
from align.memory.machines import GPUS, Machine
from align.memory.shape import read_shape
from align.memory.workload import workload
from align.recipe import SweepConfig, load_recipe, parse_recipe
from cluster.pool import Node
from sweeps.errors import SweepError
from sweeps.pace import Pace, pace_of
from sweeps.plan import plan_pipeline
from sweeps.planned import Plan, StagePlan
from sweeps.study.trials import TrialSummary
from sweeps.survivors import halved, survivors

CPU = Machine("CPU", 2**34, "bfloat16", "cpu")


def toy(**fields):
    return parse_recipe({**RECIPE, "base": "smollm2-135m-instruct", **fields})


def stage_plan(name, needs=(), hours=1.0, work=1.0, at_once=1, share=0.0):
    return StagePlan(
        name, "sft", needs, 1, 0, 1, (), (1.0,), None, share, at_once,
        Range(hours, hours), Range(work, work), "rough",
    )  # fmt: skip


def plan_of(*stages, price=None, machines=1):
    return Plan("toy", "T4", machines, 1, stages, price, ())


def simulated(factor, count, runs=4000):
    """Successive halving on objectives in random order, by Optuna's rule."""
    rng, through = random.Random(0), 0
    for _ in range(runs):
        seen = []
        for _ in range(count):
            value = rng.random()
            seen.append(value)
            best = sorted(seen, reverse=True)[: max(1, len(seen) // factor)]
            through += value >= best[-1]
    return through / runs


@pytest.mark.parametrize(("factor", "count"), [(2, 8), (3, 9), (4, 16)])
def test_expected_survivors_are_those_of_optunas_rule(factor, count):
    assert halved(count, factor) == pytest.approx(simulated(factor, count), rel=0.05)


def test_survivors_by_pruner():
    def reaching(**fields):
        return survivors(SweepConfig(trials=16, rungs=[10, 20], **fields), 16)

    assert reaching(pruner="none") == [16, 16, 16]
    assert reaching(pruner="median", pruner_options={"n_startup_trials": 4}) == [16, 10, 7]
    halves = reaching()
    assert halves[0] == 16 > halves[1] > halves[2] >= 1
    assert reaching(pruner="patient") is None
    assert survivors(SweepConfig(trials=5, pruner="patient"), 5) == [5]  # no rung, none pruned


def test_a_plan_on_t4s_needs_no_ray_and_tells_gpus_hours_and_cost(settings):
    recipe = load_recipe("arithmetic")
    plan = plan_pipeline(settings, recipe, recipe.order(), price=0.5, accelerator="T4", gpus=4)
    sft = plan.stages[0]
    assert (sft.trials, sft.rungs, sft.steps) == (4, (16,), 48)
    assert sft.reaching[0] == 4 > sft.reaching[1]
    assert sft.share == 0.5 and sft.at_once == 8 and 4e9 < sft.memory < 6e9
    assert sft.source == "rough" and 0 < sft.hours.low < sft.hours.high
    assert plan.cost.high == pytest.approx(plan.hours.high * 4 * 0.5)
    assert plan.plain()["cost"]["low"] == plan.cost.low
    assert any("rough" in note for note in plan.notes)


def test_a_plan_of_this_machine_counts_its_cpus(settings):
    plan = plan_pipeline(settings, toy(), ["sft"], cpus_per_trial=1)
    assert plan.machine == "CPU" and plan.stages[0].share == 0
    assert not (settings.home / "alignery.db").exists()  # looking makes nothing


def test_planning_starts_nothing(tmp_path):
    code = """
import sys
from align.recipe import load_recipe
from cluster.settings import Settings
from sweeps.plan import plan_pipeline
recipe = load_recipe("arithmetic")
plan_pipeline(Settings(), recipe, recipe.order(), accelerator="T4", gpus=2).table()
import ray
assert not ray.is_initialized() and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_what_does_not_fit_is_told_by_the_plan_too(settings):
    recipe = toy()
    recipe.stages["sft"].max_length = 65536
    with pytest.raises(SweepError, match="stage 'sft' does not fit a T4"):
        plan_pipeline(settings, recipe, ["sft"], accelerator="T4")


def test_an_unknown_gpu_has_no_hours(settings):
    nodes = [Node("a", "a", "", 8, 1, "L40S")]
    plan = plan_pipeline(settings, toy(), ["sft"], nodes=nodes, price=1.0)
    assert plan.hours is None and plan.cost is None
    assert "is not known" in plan.notes[-1]
    assert plan.plain()["hours"] is None


@pytest.mark.parametrize("order", [["T4", "A100"], ["A100", "T4"]])
def test_a_mixed_pool_is_planned_on_its_smallest_card(settings, order):
    nodes = [Node(name, name, "", 8, 1, name) for name in order]
    mixed, small = (
        plan_pipeline(settings, toy(), ["sft"], nodes=some)
        for some in (nodes, [node for node in nodes if node.id == "T4"])
    )
    assert mixed.machine == "T4" and mixed.machines == 2
    assert mixed.stages[0].memory == small.stages[0].memory
    assert mixed.stages[0].share == small.stages[0].share
    assert mixed.stages[0].at_once == 2 * small.stages[0].at_once


def test_a_pool_with_a_card_of_unknown_speed_has_no_hours(settings):
    nodes = [Node(name, name, "", 8, 1, name) for name in ("T4", "L40S")]
    plan = plan_pipeline(settings, toy(), ["sft"], nodes=nodes)
    assert plan.machine == "GPU" and plan.hours is None


def test_siblings_run_at_once_and_children_after_them():
    graph = (
        stage_plan("a", at_once=9),
        stage_plan("b", hours=3.0, at_once=9),
        stage_plan("c", ("a", "b"), at_once=9),
    )
    assert plan_of(*graph).hours == Range(4.0, 4.0)


def test_siblings_are_no_quicker_than_the_pool():
    graph = tuple(stage_plan(name, hours=2.0, work=2.0) for name in "abc")
    assert plan_of(*graph).hours == Range(6.0, 6.0)


def test_measured_seconds_replace_arithmetic():
    def trial(number, state, rungs):
        return TrialSummary(number, state, {}, 0.5, max(rungs), {}, rungs)

    rung = {"seconds_train": 20.0, "seconds_evaluate": 4.0, "seconds_load": 3.0}
    end = {"seconds_train": 42.0, "seconds_evaluate": 9.0, "seconds_load": 0.0}
    found = pace_of(
        [trial(0, "COMPLETE", {10: rung, 30: end}), trial(1, "PRUNED", {10: rung})], "s"
    )
    assert isinstance(found, Pace) and found.source == "s"
    assert found.step.low < 2.0 < found.step.high  # of 2.0, 2.1 and 2.0
    assert found.rung.low < 4.0 < found.rung.high and found.end.low < 9.0 < found.end.high
    assert found.begin.low < 3.0 < found.begin.high
    assert pace_of([trial(0, "COMPLETE", {10: {"seconds": 1.0}})], "s") is None


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


def test_the_table_fits_a_narrow_terminal(settings):
    recipe = load_recipe("arithmetic")
    plan = plan_pipeline(settings, recipe, recipe.order(), price=0.35, accelerator="T4", gpus=2)
    out = io.StringIO()
    Console(width=80, file=out).print(*plan.table())
    text = out.getvalue()
    assert "arithmetic: 10 trials on 2 T4" in text and "USD at 0.35 USD a GPU hour" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("sft"))
    assert row[:8] == ["sft", "4", "~2", "16", "48", "5.0", "0.5", "4"]
    assert "…" not in text
