"""Published adapters, a parent and the base on the test split, ready to be compared in pairs."""

import math

import pytest

from align.data.splits import load_answers, load_split
from align.errors import AdapterError, DataError
from align.evaluation.comparison import compare_examples
from align.evaluation.eval_plan import EvalPlan
from align.evaluation.examples import read_examples
from align.evaluation.systems import shared_engine
from align.recipe import load_recipe, parse_recipe
from align.training.test_evaluation import measure_unseen

SMOKE = load_recipe("arithmetic-smoke")


@pytest.fixture
def systems(home, make_adapter):
    return {name: make_adapter(name, seed) for seed, name in enumerate(("one", "two", "parent"))}


@pytest.fixture
def measure(systems, tmp_path):
    """Measure one system of a stage; its metrics and rows."""

    def run(recipe, stage, name, parent="parent"):
        adapter = systems.get(name)
        target = tmp_path / f"rows-{name}"
        given = {"parent": systems.get(parent), "reward_model": None, "target": target}
        metrics = measure_unseen(recipe, stage, {}, adapter, **given)
        return metrics, read_examples(target)

    return run


def changed(stage, **fields):
    raw = SMOKE.model_dump(mode="json")
    raw["stages"][stage] |= {"constraints": [], **fields}
    return parse_recipe(raw)


def test_systems_of_a_stage_are_paired_on_the_test_items(measure):
    found = {name: measure(SMOKE, "sft", name, None) for name in ("one", "two", "base")}
    prompts = {row["prompt"][-1]["content"] for row in load_answers(SMOKE, "test")}
    for metrics, rows in found.values():
        assert metrics["objective"] == metrics["accuracy"]
        assert {row.split for row in rows} == {"test"} and len(rows) == 16
        assert {row.prompt for row in rows} <= prompts
    compared = compare_examples(found["one"][1], found["base"][1])
    assert {"accuracy", "length"} <= {one.measure for one in compared}
    assert all(one.gain.count == 16 for one in compared)
    assert compare_examples(found["one"][1], found["two"][1])


def test_only_what_the_objective_needs_is_measured(measure):
    recipe = changed("sft", objective="nll")
    metrics, rows = measure(recipe, "sft", "one", None)
    assert set(metrics) == {"nll", "objective"} and metrics["objective"] == metrics["nll"]
    assert {row.items for row in rows} == {"completions"}
    assert len(rows) == len(load_split(recipe, "sft", "test"))


def test_constraints_are_held_against_the_parent_on_the_same_items(measure):
    recipe = changed("sft", objective="nll", constraints=["length <= 0.5 * base.length"])
    metrics, rows = measure(recipe, "sft", "one", None)
    base, _ = measure(recipe, "sft", "base", None)
    assert metrics["violation"] == pytest.approx(metrics["length"] / (0.5 * base["length"]) - 1)
    assert base["violation"] == pytest.approx(1.0)  # against itself
    assert {row.items for row in rows} == {"answers", "completions"}


@pytest.mark.parametrize(("method", "objective"), [("dpo", "pair_accuracy"), ("kto", "label_auc")])
def test_what_is_said_against_the_parent_cannot_be_said_of_it(measure, method, objective):
    recipe = changed("dpo", method=method, objective=objective)
    trial, rows = measure(recipe, "dpo", "one")
    base, others = measure(recipe, "dpo", "base")
    assert 0 <= trial["objective"] <= 1 and math.isfinite(base["objective"])
    key = "implicit_pair_accuracy" if method == "dpo" else "label_auc"
    assert key in {one.measure for one in compare_examples(rows, others)}
    with pytest.raises(AdapterError, match=f"{key} is measured against the parent"):
        measure(recipe, "dpo", "parent")
    with pytest.raises(AdapterError, match="the base itself has none"):
        measure(recipe, "dpo", "base", parent=None)


def test_a_parent_has_an_objective_that_stands_by_itself(measure):
    recipe = changed("dpo", objective="accuracy")
    metrics, rows = measure(recipe, "dpo", "parent")
    assert metrics["objective"] == metrics["accuracy"]
    assert compare_examples(measure(recipe, "dpo", "two")[1], rows)


def test_a_constraint_that_the_items_cannot_tell_is_an_error_at_the_end(home, make_adapter):
    recipe = changed("sft", objective="nll", constraints=["accuracy >= base.accuracy"])
    items = EvalPlan(recipe, "sft", recipe.stages["sft"].resolve(), None, None, "test")
    rung = items.rung(make_adapter("trial", 7))
    assert items.outcome(rung, last=False) == {"objective": rung.metrics()["nll"]}
    with pytest.raises(DataError, match="accuracy cannot be measured on these items"):
        items.outcome(rung, last=True)
    rung.nll = []  # a trial that has failed anyway
    assert items.outcome(rung, last=True).keys() == {"objective"}


def test_nothing_is_computed_twice_and_the_engine_keeps_no_finalist(measure, systems, monkeypatch):
    engine = shared_engine("tiny-random")
    first = measure(SMOKE, "sft", "one", None)
    assert str(systems["one"]) not in engine.loaded

    def refuse(*_, **__):
        raise AssertionError("asked the engine again")

    monkeypatch.setattr(type(engine), "generate", refuse)
    assert measure(SMOKE, "sft", "one", None) == first
