"""Problems that are made up: their steps, their answers, and the split of each."""

from itertools import islice

import pytest

from align.data.problems import SPLITS, Problem, Split, Step, compute, problems, split_of


@pytest.mark.parametrize(
    ("a", "op", "b", "expected"),
    [(7, "+", 5, 12), (7, "-", 9, -2), (7, "*", 6, 42), (42, "/", 6, 7), (5, "/", 0, 0)],
)
def test_a_step_is_computed(a: int, op: str, b: int, expected: int) -> None:
    assert compute(a, op, b) == Step("", a, op, b).value == expected


def test_the_answer_is_that_of_the_last_step() -> None:
    steps = (Step("Bought", 3, "*", 4), Step("Left", 12, "-", 5))
    problem = Problem("How many are left?", steps)
    assert problem.answer == 7
    assert problem.split == split_of("How many are left?")


def test_each_step_uses_the_result_before_it() -> None:
    for problem in islice(problems(0, "train"), 200):
        first, second = problem.steps
        assert first.value in (second.a, second.b)
        assert second.op != "/" or second.a % second.b == 0


@pytest.mark.parametrize("split", sorted(set(SPLITS)))
def test_a_stream_has_distinct_problems_of_its_split(split: Split) -> None:
    drawn = list(islice(problems(3, split), 60))
    assert {problem.split for problem in drawn} == {split}
    assert len({problem.question for problem in drawn}) == 60
    assert drawn == list(islice(problems(3, split), 60))


def test_splits_have_the_shares_of_their_tenths() -> None:
    drawn = [split_of(f"What is {n} + 1?") for n in range(5000)]
    for split in set(SPLITS):
        share = SPLITS.count(split) / len(SPLITS)
        assert drawn.count(split) / 5000 == pytest.approx(share, abs=0.03)
