"""The built-in task: right solutions, wrong ones, balanced pairs, splits that cannot meet."""

import random
from itertools import islice

import pytest

from align.data import arithmetic
from align.data.splits import load_split
from align.evaluation.metrics import longer_rule
from align.rewards import correctness
from tests.align.data.recipes import generated

SPLITS = ("train", "validation", "test", "live")


def some(split="train", seed=0, count=300):
    return list(islice(arithmetic.problems(seed, split), count))


def test_same_seed_same_problems_other_seed_others():
    assert some() == some()
    assert some(seed=1) != some()


def test_splits_never_meet_even_across_seeds():
    seen = {split: {p.question for seed in range(3) for p in some(split, seed)} for split in SPLITS}
    for one in SPLITS:
        for other in SPLITS:
            assert one == other or not seen[one] & seen[other]


@pytest.mark.parametrize("style", ["concise", "rambling"])
def test_worked_solutions_are_right(style):
    for problem in some():
        text = arithmetic.right(problem, style)
        assert correctness(text, str(problem.answer)) == 1.0
        for step in problem.steps:
            value = eval(f"{step.a} {step.op} {step.b}")  # an independent calculator
            assert value == step.value and f"{step.a} {step.op} {step.b} = {step.value}" in text


def test_wrong_solutions_are_wrong():
    rng = random.Random(0)
    for problem in some():
        for style in ("bare", "concise", "rambling"):
            assert correctness(arithmetic.wrong(problem, rng, style), str(problem.answer)) == 0.0


def test_length_alone_does_not_tell_the_chosen_answer():
    rng = random.Random(0)
    rows = [arithmetic.pair_row(problem, rng) for problem in some(count=3000)]
    texts = [[row[side][0]["content"] for row in rows] for side in ("chosen", "rejected")]
    assert 0.44 < longer_rule(*texts) < 0.56
    alike = [row for row in rows if row["kind"] == "right_wrong"]
    texts = [[row[side][0]["content"] for row in alike] for side in ("chosen", "rejected")]
    assert 0.4 < longer_rule(*texts) < 0.6


def test_expressions_of_the_tutorial():
    rows = list(islice(arithmetic.expression_rows(0, "train"), 200))
    assert len({row["prompt"][0]["content"] for row in rows}) == 200
    for row in rows:
        expression = row["prompt"][0]["content"].split(". ")[-1].removesuffix(" =")
        assert str(eval(expression)) == row["answer"]


def test_the_built_in_task_labels_right_answers_for_kto():
    from align.rewards import correctness

    rows = load_split(generated("kto"), "one", "train")
    liked = [row for row in rows if row["label"]]
    assert 0.4 < len(liked) / len(rows) < 0.6
    texts = [row["completion"][0]["content"] for row in liked]
    assert all(correctness(t, row["answer"]) for t, row in zip(texts, liked, strict=True))
    assert {row["kind"] for row in rows if not row["label"]} == {"wrong", "rambling"}
    for row in rows:
        right = correctness(row["completion"][0]["content"], row["answer"])
        assert right == (row["kind"] != "wrong")
    shown = {row["prompt"][0]["content"] for row in rows}
    others = load_split(generated("dpo"), "one", "train")
    assert len(shown & {row["prompt"][0]["content"] for row in others}) < 0.1 * len(rows)
