"""What is measured of a checkpoint, beside its parent and the base, and read again elsewhere."""

from align.evaluation.eval_result import (
    KEPT,
    EvalResult,
    differences,
    read_measured,
    write_measured,
)
from align.evaluation.metrics import Evaluation
from align.rewards import RewardFailure

ITEMS = {"keys": {"answers": ["a", "b"]}, "prompts": {"answers": ["A?", "B?"]}}
PAIRS = {"keys": {"pairs": ["a", "b"]}, "prompts": {"pairs": ["A?", "B?"]}}


def answered(*correct: float) -> Evaluation:
    return Evaluation("it", "validation", correct=list(correct), **ITEMS)


def test_a_difference_is_that_of_the_same_items():
    accuracy = differences(answered(1, 1), answered(0, 0))["accuracy"]
    assert (accuracy["difference"], accuracy["high"], accuracy["items"]) == (1.0, 1.0, 2)
    assert 0 < accuracy["low"] < 0.2  # two items are no certainty


def test_items_without_spread_have_no_interval_in_json():
    ours, theirs = (
        Evaluation("it", "validation", nll=values, keys={"completions": ["a", "b"]},
                   prompts={"completions": ["A?", "B?"]})
        for values in ([1.5, 2.5], [1.0, 2.0])
    )  # fmt: skip
    nll = differences(ours, theirs)["nll"]
    assert nll == {"difference": 0.5, "low": None, "high": None, "items": 2}


def test_margins_of_a_reward_model_are_not_compared_with_log_probabilities():
    model = Evaluation(
        "rm", "validation", pairs=[1, 0], margins=[2, -1], chosen_scores=[3, 1], **PAIRS
    )
    policy = Evaluation("it", "validation", pairs=[0, 0], margins=[-5, -9], **PAIRS)
    assert set(differences(model, policy)) == {"pair_accuracy"}
    assert set(differences(model, model)) == {"pair_accuracy", "margin"}


def test_a_stage_without_a_parent_stands_beside_the_base_twice():
    measured = EvalResult(answered(1, 1))
    measured.put_beside(None, answered(0, 1))
    assert measured.parent_metrics == measured.base_metrics
    assert measured.base_metrics["accuracy"] == 0.5
    assert measured.against_parent == measured.against_base
    assert measured.against_base["accuracy"]["difference"] == 0.5


def test_all_failures_are_counted_and_the_first_are_told():
    measured = EvalResult(answered(1, 1))
    failures = [RewardFailure("mine", "A?", str(number), "no number") for number in range(15)]
    measured.add_failures(15, failures)
    measured.add_failures(40, failures)
    assert measured.failed == 55 and len(measured.failures) == KEPT == 20
    assert [failure["text"] for failure in measured.failures[14:17]] == ["14", "0", "1"]


def test_what_is_written_is_read_and_nothing_is_none(tmp_path):
    measured = EvalResult(answered(1, 0), against_base={"accuracy": {"difference": 0.5}}, failed=3)
    assert read_measured(None) is None and read_measured(tmp_path) is None
    write_measured(tmp_path, measured)
    assert read_measured(tmp_path) == measured
