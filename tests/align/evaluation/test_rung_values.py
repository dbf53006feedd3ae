"""The values of items by which trials are compared."""

import math

import pytest

from align.errors import RecipeError
from align.evaluation.metrics import Evaluation
from align.evaluation.rung_values import rung_values
from align.methods import METHODS
from align.recipe.metric_schedule import at_rung, rung_metric, rung_metrics, rung_minimised
from tests.align.evaluation.held_out import SMOKE, held_out
from tests.align.recipe.constrained import recipe

KEYS = {"pairs": ["a", "b"], "labels": ["a", "b", "c"], "sampled": ["p"], "completions": ["a", "b"]}


def test_each_metric_has_a_value_of_each_item():
    measured = Evaluation(
        "", "", margins=[0.0, 2.0], implicit_margins=[1.0, -1.0], nll=[0.5, math.nan],
        log_ratios=[1.0, 2.0, -3.0], liked=[1.0, 0.0, 0.0], sampled=[0.25], keys=KEYS,
    )  # fmt: skip
    assert rung_values(measured, "margin") == {"a": 0.0, "b": 2.0}
    loss = rung_values(measured, "pair_loss")
    assert loss == {"a": pytest.approx(math.log(2)), "b": pytest.approx(math.log1p(math.exp(-2)))}
    assert rung_values(measured, "implicit_pair_accuracy") == {"a": 1.0, "b": 0.0}
    assert rung_values(measured, "label_margin") == {"a": 1.0, "b": -2.0, "c": 3.0}
    assert rung_values(measured, "sampled_reward") == {"p": 0.25}
    assert rung_values(measured, "nll") == {"a": 0.5}  # what is no number is left out
    assert rung_values(measured, "accuracy") == {}


@pytest.mark.parametrize("method", METHODS)
def test_the_default_of_each_method_can_be_measured_on_it(method):
    stage = recipe(method, reward_model="judge" if method != "reward" else None).stages["one"]
    paired = stage.model_copy(update={"sweep": stage.sweep.model_copy(update={"pruner": "paired"})})
    assert rung_metric(stage) is None  # Optuna's pruners compare by the objective
    metric = rung_metric(paired)
    assert metric in rung_metrics(paired)
    assert rung_minimised(metric) == (metric in ("nll", "pair_loss"))
    assert len(at_rung(paired)) >= 1


def test_a_metric_that_takes_rewards_is_refused_without_any():
    sweep = {"rungs": [4], "rung_metric": "mean_reward"}
    with pytest.raises(RecipeError, match=r"sweep\.rung_metric: 'mean_reward' needs rewards"):
        recipe("dpo", sweep=sweep)
    assert recipe("grpo", sweep=sweep).stages["one"].sweep.rung_metric == "mean_reward"


def test_the_rung_of_a_stage_is_the_mean_over_its_items(home, other):
    paired = SMOKE.model_copy(deep=True)
    paired.stages["sft"].sweep.pruner = "paired"
    plan = held_out(paired, "sft", None)
    measured = plan.rung(other)
    values = plan.rung_values(measured)
    outcome = plan.outcome(measured, last=False)
    assert len(values) == len(set(measured.keys["completions"])) and not measured.texts
    assert outcome == {"rung": pytest.approx(sum(values.values()) / len(values))}
    assert outcome["rung"] == pytest.approx(measured.metrics()["nll"])


def test_sampled_answers_are_the_same_each_time(home, other):
    paired = SMOKE.model_copy(deep=True)
    stage = paired.stages["grpo"]
    stage.sweep.pruner, stage.sweep.rung_prompts, stage.sweep.rung_samples = "paired", 2, 3
    stage.rewards.pop("reward_model", None)
    plan = held_out(paired, "grpo", None)
    first, second = (plan.rung(other) for _ in range(2))
    assert len(first.sampled) == 2 and first.sampled == pytest.approx(second.sampled)
    assert plan.rung_values(first).keys() == set(first.keys["sampled"])
