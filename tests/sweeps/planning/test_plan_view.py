"""How long a plan takes: stages beside and after each other."""

from dataclasses import replace

from align.memory.duration import Range
from sweeps.planning.plan_view import PipelinePlan, StagePlan


def stage_plan(name, needs=(), hours=1.0, work=1.0, at_once=1, share=0.0):
    return StagePlan(
        name, "sft", needs, 1, 0, 1, (), (1.0,), None, share, at_once,
        Range(hours, hours), Range(work, work), "rough",
    )  # fmt: skip


def plan_of(*stages, price=None, machines=1):
    return PipelinePlan("toy", "T4", machines, 1, stages, price, ())


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


def test_what_it_costs_is_of_all_machines_for_all_hours():
    plan = plan_of(stage_plan("a", hours=3.0), price=0.5, machines=4)
    assert plan.cost == Range(6.0, 6.0)
    assert plan_of(stage_plan("a")).cost is None
    assert plan.plain()["cost"] == {"low": 6.0, "high": 6.0}
    assert plan.plain()["stages"][0]["hours"] == {"low": 3.0, "high": 3.0}


def test_where_the_time_of_a_stage_is_not_known_that_of_the_whole_is_not():
    unknown = replace(stage_plan("b"), hours=None, work=None, source=None)
    plan = plan_of(stage_plan("a"), unknown, price=0.5)
    assert plan.hours is None and plan.cost is None
    assert (plan.plain()["hours"], plan.trials) == (None, 2)
