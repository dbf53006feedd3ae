"""Tasks of reasoning_gym as data: rows, splits that cannot meet, and what they are for."""

from __future__ import annotations

from itertools import islice

import pytest

from align.data.problems import SPLITS
from align.data.reasoning import problem_rows
from align.data.splits import check_disjoint, fingerprint, load_answers, load_split
from align.errors import DataError
from align.preflight import check_inputs
from tests.align.data.reasoning_recipes import needs_package, recipe

SMALL = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


@needs_package
def test_rows_are_the_same_for_a_seed_and_plain_for_trl() -> None:
    from datasets import Dataset

    rows = load_split(recipe(), "one", "train")
    assert len({row["prompt"][0]["content"] for row in rows}) == 20
    again = list(islice(problem_rows("reasoning_gym/chain_sum", {}, 0, "train"), 20))
    assert fingerprint(again) == fingerprint(rows)
    assert load_split(recipe(seed=1), "one", "train") != rows
    assert all(set(row) == {"prompt", "answer", "entry"} for row in rows)
    assert Dataset.from_list(rows).to_list() == rows
    for row in rows:
        assert (
            str(eval(row["prompt"][0]["content"].split(": ")[1].removesuffix(" =")))
            == row["answer"]
        )


@needs_package
def test_a_problem_belongs_to_one_split_whatever_seed_drew_it() -> None:
    found = {
        split: [
            row
            for seed in range(3)
            for row in islice(problem_rows("reasoning_gym/chain_sum", {}, seed, split), 40)
        ]
        for split in sorted(set(SPLITS))
    }
    check_disjoint(found)


@needs_package
def test_task_config_reaches_the_task() -> None:
    rows = load_split(recipe(task_config=SMALL, train=10, validation=2, test=2), "one", "train")
    for row in rows:
        terms = row["prompt"][0]["content"].split(": ")[1].removesuffix(" =").split()
        assert len(terms) == 3 and all(len(one) == 1 for one in terms)


@needs_package
def test_a_task_that_cannot_give_as_many_says_so() -> None:
    with pytest.raises(
        DataError, match=r"gave only \d+ different problems for train .* lower data"
    ):
        load_split(recipe(task_config=SMALL, train=4000), "one", "train")


@needs_package
def test_it_is_for_grpo_and_its_answers_can_be_checked() -> None:
    check_inputs(recipe())
    assert len(load_answers(recipe(), "validation")) == 8
    with pytest.raises(
        DataError, match="no worked solutions, so it is for grpo and rloo alone; sft needs"
    ):
        check_inputs(recipe(method="sft"))
