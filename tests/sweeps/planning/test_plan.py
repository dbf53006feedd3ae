"""What a sweep will take, told before anything is started."""

import io
import random
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from align.memory.duration import Range
from align.memory.machines import GPUS, Machine
from align.recipe import SweepConfig, load_recipe, parse_recipe
from cluster.database import open_database
from cluster.pool import Node
from sweeps.errors import SweepError
from sweeps.planning.plan import plan_pipeline
from sweeps.planning.plan_view import PipelinePlan, StagePlan
from sweeps.planning.pruning_estimate import halved, survivors
from sweeps.planning.throughput import Pace, measured_pace, pace_of
from sweeps.sweep_store import FINISHED
from sweeps.trials import TrialSummary
from tests.sweeps.toy_recipe import RECIPE

CPU = Machine("CPU", 2**34, "bfloat16", "cpu")


def toy(**fields):
    return parse_recipe({**RECIPE, "base": "smollm2-135m-instruct", **fields})


def stage_plan(name, needs=(), hours=1.0, work=1.0, at_once=1, share=0.0):
    return StagePlan(
        name, "sft", needs, 1, 0, 1, (), (1.0,), None, share, at_once,
        Range(hours, hours), Range(work, work), "rough",
    )  # fmt: skip


def plan_of(*stages, price=None, machines=1):
    return PipelinePlan("toy", "T4", machines, 1, stages, price, ())


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


def test_survivors_of_a_percentile_are_those_that_come_first_and_its_share_of_the_rest():
    def reaching(trials=16, **options):
        sweep = SweepConfig(trials=trials, rungs=[10, 20], pruner="percentile")
        return survivors(sweep.model_copy(update={"pruner_options": options}), trials)

    assert reaching(percentile=25.0, n_startup_trials=4) == [16, 7, 4.75]
    assert reaching(percentile=25.0) == [16, 7, 4.75]  # a quarter of a small sweep starts it up
    assert reaching(40, percentile=25.0) == [40, 13.75, 7.1875]  # and five trials of a large one
    assert reaching(2, percentile=0.0) == [2, 1, 1]
    assert reaching(percentile=0.0, n_startup_trials=0) == [16, 1, 1]  # trial 0 always goes on
    assert reaching(1, percentile=50.0, n_startup_trials=9) == [1, 1, 1]


def test_a_part_of_a_trial_survives_in_part():
    for count, factor in ((8, 2), (8, 3), (3, 4)):
        middle = (halved(count, factor) + halved(count + 1, factor)) / 2
        assert halved(count + 0.5, factor) == pytest.approx(middle)
    assert survivors(SweepConfig(trials=1, rungs=[10, 20]), 1) == [1, 1, 1]


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
from sweeps.planning.plan import plan_pipeline
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


def test_a_mixed_pool_is_planned_for_its_smallest_card(settings):
    def planned(*cards, **options):
        nodes = [Node(f"{at}", "", "", 8, count, card) for at, (card, count) in enumerate(cards)]
        return plan_pipeline(settings, toy(), ["sft"], nodes=nodes, **options)

    slow, fast = planned(("T4", 2)), planned(("A100", 2))
    assert slow.stages[0].hours.high > fast.stages[0].hours.high
    for cards in ((("T4", 1), ("A100", 1)), (("A100", 1), ("T4", 1))):
        mixed = planned(*cards)
        assert (mixed.machine, mixed.machines) == ("T4", 2)
        assert mixed.stages[0].share == slow.stages[0].share
    chosen = planned(("T4", 1), ("A100", 3), accelerator="A100")
    assert (chosen.machine, chosen.machines) == (fast.machine, 3)
    unknown = planned(("T4", 1), ("L40S", 1))
    assert unknown.hours is None and unknown.machines == 2


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


def timed(number, state, *milestones):
    """A trial of (step, seconds of training, of evaluation, of loading)."""
    names = ("seconds_train", "seconds_evaluate", "seconds_load")
    rungs = {step: dict(zip(names, seconds, strict=True)) for step, *seconds in milestones}
    return TrialSummary(number, state, {}, 0.5, max(rungs), {}, rungs)


def test_medians_are_of_steps_since_the_last_milestone_rungs_ends_and_beginnings():
    trials = [
        timed(0, "COMPLETE", (10, 20.0, 4.0, 3.0), (30, 44.0, 9.0, 90.0)),
        timed(1, "PRUNED", (10, 24.0, 8.0, 7.0)),
        timed(2, "PRUNED", (10, 21.0, 5.0, 8.0), (20, 23.0, 6.0, 80.0)),
    ]
    found = pace_of(trials, "s")
    middles = {"step": 2.2, "rung": 5.5, "end": 9.0, "begin": 7.0}
    for name, middle in middles.items():
        around = getattr(found, name)
        assert (around.low, around.high) == pytest.approx((0.9 * middle, 1.2 * middle)), name
    only = pace_of(trials[1:2], "s")  # none has come to its end
    assert only.end == only.rung


def test_the_newest_sweep_on_the_same_kind_of_machine_tells_the_pace(settings, monkeypatch):
    open_database(settings).close()  # else nothing was searched yet
    gpu, cpu = (True, "float16"), (False, "bfloat16")
    ran = [(FINISHED, cpu), (FINISHED, gpu), (FINISHED, gpu), (FINISHED, cpu), ("running", gpu)]
    rows = [
        SimpleNamespace(state=state, adapter_id=str(at), study=f"study-{at}")
        for at, (state, _) in enumerate(ran)
    ]
    versions = [
        SimpleNamespace(
            adapter_id=str(at),
            manifest=SimpleNamespace(accelerator_seconds=float(on_gpu), dtype=dtype),
        )
        for at, (_, (on_gpu, dtype)) in enumerate(ran)
    ]
    registry = SimpleNamespace(versions=lambda line: versions)
    monkeypatch.setattr("sweeps.planning.throughput.sweeps", lambda database, line: rows)
    monkeypatch.setattr("sweeps.planning.throughput.open_registry", lambda settings: registry)
    trials = [timed(0, "COMPLETE", (10, 20.0, 4.0, 3.0))]
    monkeypatch.setattr("sweeps.planning.throughput.read_trials", lambda settings, study: trials)
    assert measured_pace(settings, "toy/sft", GPUS["T4"]).source == "study-2"
    assert measured_pace(settings, "toy/sft", CPU).source == "study-3"
    assert measured_pace(settings, "toy/sft", GPUS["A100-40"]) is None  # trains in another dtype


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
