"""Constraints: how they are read, what they may look at, and how far a trial is beyond one."""

import json
import math
import re
from pathlib import Path

import pytest

from align.errors import DataError, RecipeError
from align.evaluation.eval_plan import EvalPlan
from align.evaluation.metrics import Evaluation
from align.methods import MethodName
from align.preflight import check_inputs
from align.recipe import load_recipe, parse_recipe
from align.space.constraints import broken, needed, read_constraint
from align.training.trial import Trial
from tests.align.recipe.constrained import Raw, recipe


@pytest.mark.parametrize(
    ("text", "value", "violation"),
    [
        ("length <= 100", 110.0, 0.1),
        ("length <= 100", 90.0, -0.1),
        ("length<=1.2 * parent.length", 120.0, 0.0),
        ("accuracy >= base.accuracy", 0.4, 0.2),
        ("accuracy >= base.accuracy - 0.1", 0.4, 0.0),
        ("margin >= -2", -3.0, 0.5),  # the size of a negative bound
        ("margin <= -2", -3.0, -0.5),
        ("kl_per_token <= 0", 0.25, 0.25),  # no share of nothing
        ("accuracy <= base.accuracy / (2 - 1) ** 2", 0.5, 0.0),
    ],
)
def test_how_far_a_trial_is_beyond_its_bound(text: str, value: float, violation: float) -> None:
    one = read_constraint(text)
    beside = {("parent", "length"): 100.0, ("base", "accuracy"): 0.5}
    assert broken(one, {one.metric: value}, beside) == pytest.approx(violation)


def test_what_was_not_measured_is_neither_kept_nor_broken() -> None:
    one = read_constraint("length <= 1.2 * parent.length")
    assert broken(one, {}, {("parent", "length"): 1.0}) is None
    assert broken(one, {"length": 1.0}, {}) is None
    assert broken(one, {"length": 1.0}, {("parent", "length"): float("nan")}) is None


def test_names_with_a_stroke_are_metrics() -> None:
    one = read_constraint("reward/brevity >= parent.reward/brevity - base.length/base.tokens")
    assert one.metric == "reward/brevity"
    assert one.beside == (("parent", "reward/brevity"), ("base", "length"), ("base", "tokens"))
    assert needed(["reward >= 0.5 * parent.reward"]) == {"mean_reward"}


WRONG: list[tuple[MethodName, str, Raw, str]] = [
    ("dpo", "length < 200", {}, "expected <metric> <= <bound> or .*got 'length < 200'"),
    ("dpo", "length", {}, "expected <metric> <= <bound>"),
    ("dpo", "0.1 <= accuracy <= 0.5", {}, "expected <metric> <= <bound>"),
    ("dpo", "length <= ", {}, "expected <metric> <= <bound>"),
    ("dpo", "length <= 2 *", {}, "no expression"),
    ("dpo", "length <= parnet.length", {}, "'parnet.length': a bound may use numbers, parent"),
    ("dpo", "length <= __import__('os')", {}, "only numbers, names and"),
    ("dpo", "lenght <= 200", {}, "dpo measures no 'lenght'; did you mean 'length'"),
    ("dpo", "nll <= 2", {}, "dpo measures no 'nll'; allowed: accuracy, mean_reward, reward/<name>"),
    ("dpo", "win_rate >= 0.5", {}, "needs a judge: the field reward_model"),
    ("dpo", "length <= parent.lenght", {}, "nothing measures parent.lenght; allowed: parent.acc"),
    ("dpo", "length <= base.kl_per_token", {}, "nothing measures base.kl_per_token"),
    ("reward", "margin >= base.margin", {}, "nothing measures base.margin"),
    ("reward", "length <= 200", {}, "reward measures no 'length'; allowed: pair_accuracy"),
    (
        "dpo",
        "length <= 1.2 * parent.length",
        {"parent": None},
        "parent.length: this stage has no parent; use base.length",
    ),
    ("grpo", "reward/polite >= 0.5", {}, "no reward 'polite'; allowed: correctness, brevity"),
    ("sft", "reward >= 0.5", {}, "'mean_reward' needs rewards in this stage or a grpo"),
]


@pytest.mark.parametrize(("method", "constraint", "fields", "message"), WRONG)
def test_a_wrong_constraint_is_told(
    method: MethodName, constraint: str, fields: Raw, message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(method, constraint, **fields)
    assert re.search(rf"stages\.one\.constraints.*{message}", str(caught.value))


def test_with_a_judge_wins_can_be_constrained() -> None:
    assert recipe("dpo", "win_rate >= 0.5", reward_model="judge")
    with pytest.raises(RecipeError, match=r"nothing measures parent\.win_rate"):
        recipe("dpo", "win_rate >= parent.win_rate", reward_model="judge")


SMOKE = load_recipe("arithmetic-smoke")


def items(monkeypatch: pytest.MonkeyPatch, *constraints: str) -> EvalPlan:
    """Of DPO's stage, whose parent's and base's answers are 100 characters long."""
    config = SMOKE.stages["dpo"].resolve().model_copy(update={"constraints": list(constraints)})
    held = EvalPlan(SMOKE, "dpo", config, None, None)
    beside = Evaluation("", "", texts=["x"], correct=[0.0], lengths=[100.0])
    monkeypatch.setattr(held, "_measure", lambda *_: beside)
    return held


def test_the_worst_constraint_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    held = items(monkeypatch, "length <= 1.1 * parent.length", "accuracy >= 0.5")
    trial = Evaluation("", "", texts=["x"], correct=[0.4], lengths=[121.0])
    assert held.violation(trial, last=True) == pytest.approx(0.2)
    trial.correct = [0.9]
    assert held.violation(trial, last=True) == pytest.approx(0.1)
    trial.lengths = [11.0]
    assert held.violation(trial, last=False) == pytest.approx(-0.8)  # accuracy: 1 - 0.9 / 0.5


def test_at_a_rung_what_is_measured_there_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    held = items(monkeypatch, "length <= 100", "kl_per_token <= 0.1")
    trial = Evaluation("", "", texts=["x"], lengths=[50.0])
    assert held.violation(trial, last=False) == pytest.approx(-0.5)
    assert items(monkeypatch).violation(trial, last=True) is None
    assert items(monkeypatch, "kl_per_token <= 1").violation(trial, last=False) is None
    with pytest.raises(DataError, match=r"kl_per_token <= 0.1: kl_per_token cannot be measured"):
        held.violation(trial, last=True)


def test_a_bound_without_a_value_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    held = items(monkeypatch, "accuracy >= 1 / base.accuracy")
    with pytest.raises(RecipeError, match=r"accuracy >= 1 / base.accuracy: .*division by zero"):
        held.violation(Evaluation("", "", texts=["x"], correct=[1.0]), last=True)


def test_a_trial_that_measured_nothing_has_no_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    held = items(monkeypatch, "accuracy >= 0.5")
    found = held.outcome(Evaluation("", "", texts=["x"], lengths=[1.0]), last=True)
    assert found.keys() == {"objective"} and math.isnan(found["objective"])
    kept = held.outcome(Evaluation("", "", texts=["x"], correct=[0.75]), last=True)
    assert kept == {"objective": 0.75, "violation": -0.5}  # never taken off the objective


def test_trials_of_different_length_are_held_to_the_same_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: a searched number of steps, a rung, and answers that no bound could allow."""
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "home"))
    raw = SMOKE.model_dump()
    raw["stages"] = {"sft": raw["stages"]["sft"]}
    raw["stages"]["sft"] |= {
        "objective": "nll",
        "max_steps": {"choice": [3, 2]},
        "constraints": ["length <= 0 * base.length + 0.001", "tokens >= base.tokens - 1000"],
        "sweep": {"rungs": [1]},
    }
    made = parse_recipe(raw)
    trial = Trial(
        made, "sft", {"max_steps": 2}, parent=None, reward_model=None, folder=tmp_path / "trial"
    )
    assert trial.milestones == (1, 2)
    found = [trial.advance(step) for step in trial.milestones]
    for one in found:
        assert one["violation"] == pytest.approx(one["length"] / 0.001 - 1)
        assert one["objective"] == one["nll"]
    assert "kl_per_token" not in found[0]
    assert {"accuracy", "kl_per_token"} <= found[1].keys()


def test_answers_that_a_constraint_needs_are_asked_for_before_anything_starts(
    tmp_path: Path,
) -> None:
    rows = [{"prompt": f"Say {n}.", "completion": f"{n}."} for n in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    raw = recipe("sft", "accuracy >= base.accuracy").model_dump()
    raw |= {"data": {"path": "rows.jsonl", "train": 16, "validation": 6, "test": 6}}
    raw["stages"] = {"one": {**raw["stages"]["one"], "parent": None}}
    with pytest.raises(DataError, match=r"constraints: 'accuracy >= .* add a column 'answer' to"):
        check_inputs(parse_recipe(raw, folder=tmp_path))
    raw["stages"]["one"]["constraints"] = ["length <= 200"]
    check_inputs(parse_recipe(raw, folder=tmp_path))
