"""What is measured at a rung, and at the end."""

import pytest

from align.errors import DataError
from align.evaluation.eval_plan import at_end, at_rung
from tests.align.evaluation.held_out import SMOKE, held_out


def test_rungs_measure_what_the_objective_needs_and_the_end_everything():
    stages = SMOKE.stages
    assert at_rung(stages["sft"]) == ("answers",)
    nll = stages["sft"].model_copy(update={"objective": "nll"})
    assert at_rung(nll) == ("completions",)
    assert set(at_end(nll)) == {"completions", "answers", "divergence"}
    bounded = nll.model_copy(update={"constraints": ["length <= 1.2 * base.length"]})
    assert at_rung(bounded) == ("answers", "completions")
    accurate = nll.model_copy(update={"constraints": ["accuracy >= base.accuracy"]})
    assert at_rung(accurate) == ("completions",)  # answers are written at the end alone
    assert at_rung(stages["reward"]) == at_end(stages["reward"]) == ("pairs",)
    pairs = {"objective": "pair_accuracy", "reward_model": "reward", "constraints": []}
    dpo = stages["dpo"].model_copy(update=pairs)
    assert at_rung(dpo) == ("implied",)
    assert set(at_end(dpo)) == {"implied", "answers", "wins", "divergence"}
    kto = dpo.model_copy(update={"method": "kto", "objective": "label_auc"})
    assert at_rung(kto) == ("labels",) and "wins" in at_end(kto)
    won = dpo.model_copy(update={"objective": "win_rate"})
    assert at_rung(won) == ("answers", "wins")  # wins read the answers: they come first


def test_a_rung_asks_no_reward_that_the_objective_does_not_need(home, other, judge):
    items = held_out(SMOKE, "grpo", None, judge)
    assert SMOKE.stages["grpo"].objective == "reward"
    assert "reward/reward_model" in items.rung(other).metrics()
    recipe = SMOKE.model_copy(deep=True)
    recipe.stages["grpo"].objective = "accuracy"
    rung = held_out(recipe, "grpo", None, judge).rung(other).metrics()
    assert "accuracy" in rung and not any(name.startswith("reward") for name in rung)
    end = held_out(recipe, "grpo", None, judge).end(other).metrics()
    assert {"reward/reward_model", "mean_reward", "win_rate", "kl_per_token"} <= set(end)
    assert {"repetition", "truncated", "tokens", "length"} <= set(end)


def test_without_answers_to_check_the_rest_is_measured(home, plain, other):
    metrics = held_out(plain, "sft", None).end(other).metrics()
    assert {"nll", "length", "kl_per_token", "reward/brevity", "mean_reward"} <= set(metrics)
    assert not {"accuracy", "reward/correctness"} & set(metrics)
    assert metrics["mean_reward"] == pytest.approx(0.2 * metrics["reward/brevity"])


def test_a_reward_that_decides_and_lacks_its_column_is_an_error(home, plain, other):
    decided = plain.model_copy(deep=True)
    decided.stages["sft"].objective = "reward"
    with pytest.raises(DataError, match="'correctness' needs the column answer"):
        held_out(decided, "sft", None).rung(other)
