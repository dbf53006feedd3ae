"""What a sweep will take, told before anything is started."""

import io
import subprocess
import sys

import pytest
from rich.console import Console

from align.memory.machines import Machine
from align.recipe import load_recipe, parse_recipe
from cluster.pool import Node
from sweeps.errors import SweepError
from sweeps.planning.plan import plan_pipeline
from tests.sweeps.toy_recipe import RECIPE

CPU = Machine("CPU", 2**34, "bfloat16", "cpu")


def toy(**fields):
    return parse_recipe({**RECIPE, "base": "smollm2-135m-instruct", **fields})


def test_a_plan_on_t4s_needs_no_ray_and_tells_gpus_hours_and_cost(settings):
    recipe = load_recipe("arithmetic")
    plan = plan_pipeline(settings, recipe, recipe.order(), price=0.5, accelerator="T4", gpus=4)
    sft = plan.stages[0]
    assert (sft.trials, sft.rungs, sft.steps) == (4, (16,), 48)
    assert sft.reaching[0] == 4 > sft.reaching[1]
    assert sft.share == 0.25 and sft.at_once == 16 and 3e9 < sft.memory < 4e9
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


def test_the_table_fits_a_narrow_terminal(settings):
    recipe = load_recipe("arithmetic")
    plan = plan_pipeline(settings, recipe, recipe.order(), price=0.35, accelerator="T4", gpus=2)
    out = io.StringIO()
    Console(width=80, file=out).print(*plan.table())
    text = out.getvalue()
    assert "arithmetic: 10 trials on 2 T4" in text and "USD at 0.35 USD a GPU hour" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("sft"))
    assert row[:5] == ["sft", "4", "~2", "16", "48"]
    assert 3 < float(row[5]) < 4 and row[6:8] == ["0.25", "8"]
    assert "…" not in text
