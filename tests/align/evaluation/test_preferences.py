"""Pairs and labels without a preference are not measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from align.errors import DataError
from align.evaluation.evaluate import Evaluator
from align.recipe import Recipe, parse_recipe

KTO = {"method": "kto", "objective": "label_auc", "per_device_train_batch_size": 2}


def recipe(path: Path, rows: list[dict[str, Any]], **stage: Any) -> Recipe:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"path": str(path), "train": 2, "validation": 6, "test": 2}
    common = {"method": "dpo", "objective": "pair_accuracy", "learning_rate": 1e-4, "max_steps": 1}
    fields = {
        "name": "pairs",
        "base": "tiny-random",
        "data": data,
        "stages": {"pairs": {**common, **stage}},
    }
    return parse_recipe(fields, "test", folder=path.parent)


def pairs(differing: int) -> list[dict[str, Any]]:
    return [
        {"prompt": f"p{n}", "chosen": "good", "rejected": "bad" if n < differing else "good"}
        for n in range(10)
    ]


def test_pairs_without_a_preference_are_left_out(home, other, tmp_path):
    mixed = recipe(tmp_path / "mixed.jsonl", pairs(5))
    found = Evaluator(mixed).ranking(other, "pairs", "validation", by_score=False)
    assert 0 < len(found.pairs) == len(found.keys["pairs"]) == len(found.margins) < 6
    assert set(found.pairs) <= {0.0, 1.0} and 0.0 not in found.margins


def test_a_policy_ties_with_itself(home, other, tmp_path):
    good = recipe(tmp_path / "good.jsonl", pairs(10))
    found = Evaluator(good).implying(other, other, "pairs", "validation")
    assert found.implicit_margins == [0.0] * 6
    assert found.metrics()["implicit_pair_accuracy"] == 0.5


def test_nothing_can_be_measured_without_a_preference(home, other, judge, tmp_path):
    equal = recipe(tmp_path / "equal.jsonl", pairs(0))
    with pytest.raises(DataError, match="none of the 6 validation pairs states a preference"):
        Evaluator(equal).implying(other, None, "pairs", "validation")
    with pytest.raises(DataError, match="none of the 2 test pairs states a preference"):
        Evaluator(equal).ranking(judge, "pairs", "test", by_score=True)


def test_answers_labelled_good_and_bad_are_left_out(home, other, tmp_path):
    both = recipe(tmp_path / "both.jsonl", pairs(0), **KTO)
    with pytest.raises(DataError, match="each answer of the 6 validation rows is labelled good"):
        Evaluator(both).labelling(other, None, "pairs", "validation")
    mixed = recipe(tmp_path / "labelled.jsonl", pairs(5), **KTO)
    found = Evaluator(mixed).labelling(other, None, "pairs", "validation")
    assert 0 < len(found.liked) == len(found.keys["labels"]) < 6
    assert sum(found.liked) == len(found.liked) / 2


def test_the_same_answer_ties_whatever_the_judge_says(home, other, judge, tmp_path, monkeypatch):
    """Two scores of the same text may differ by rounding, since other rows are in its batch."""
    good = recipe(tmp_path / "good.jsonl", pairs(10))
    evaluator = Evaluator(good, judge)
    answered = evaluator.answering(None, "validation", {}, stage="pairs")
    scores = iter([0.5, 0.6])
    monkeypatch.setattr(
        type(evaluator._systems), "preferences", lambda *_: [next(scores)] * len(answered.texts)
    )
    assert evaluator.winning(answered, None, None, "pairs", "validation").wins == [0.5] * 6
