"""What a stage measures, by the kind of measurement."""

import pytest

from align.evaluation.metrics import Evaluation
from align.methods import METHODS, MethodName
from align.recipe.metric_schedule import METRICS, at_end, kind_of, measures
from tests.align.recipe.constrained import recipe


@pytest.mark.parametrize(
    ("method", "constraint"),
    [
        ("sft", "nll <= base.nll"),
        ("reward", "pair_accuracy >= base.pair_accuracy"),
        ("dpo", "length <= 1.2 * parent.length"),
        ("dpo", "implicit_pair_accuracy >= 0.5"),
        ("kto", "kl_per_token <= 0.2"),
        ("grpo", "reward/brevity >= 0.5 * parent.reward/brevity"),
        ("grpo", "reward >= base.reward"),
        ("grpo", "truncated <= 0.1"),
    ],
)
def test_what_a_method_measures_can_be_constrained(method: MethodName, constraint: str) -> None:
    assert recipe(method, constraint).stages["one"].constraints == [constraint]


def test_the_table_of_metrics_has_what_is_measured() -> None:
    """Held against the measures themselves: every name there is, none that is not."""
    found = Evaluation(
        "", "", ["a b c d"] * 2, [1.0, 0.0], [1.0, 2.0], {"brevity": [1.0, 0.5]}, [4.0, 7.0], [1.0],
        [0.0], [1.0], ["style"], [0.1], [0.2], [1.0], [0.5], [1.0], [0.5], [0.1], [0.2], [0.3, 0.1],
        [1.0, 0.0],
    ).metrics()  # fmt: skip
    table = {name for names in METRICS.values() for name in names}
    measured = {name.partition("/")[0] + "/" * ("/" in name) for name in found}
    internal = {"chosen_mean", "chosen_std"}  # what a reward model's scores are read against
    assert table == measured - internal


@pytest.mark.parametrize("method", METHODS)
def test_objectives_are_metrics_that_can_be_constrained(method: MethodName) -> None:
    stage = recipe(method, reward_model="judge" if method != "reward" else None).stages["one"]
    for name in METHODS[method].objectives:
        assert kind_of(stage, "mean_reward" if name == "reward" else name) in at_end(stage)
    assert len(measures(stage, beside=True)) < len(measures(stage))
