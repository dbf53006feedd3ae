"""Tasks of reasoning_gym: rows, splits that cannot meet, their own scoring, clear refusals."""

from __future__ import annotations

import importlib.util
import json
import sys
from itertools import islice
from typing import Any

import pytest

from align.data.problems import SPLITS
from align.data.reasoning import problem_rows
from align.data.splits import check_disjoint, fingerprint, load_answers, load_split
from align.errors import DataError
from align.preflight import check_inputs
from align.reasoning_tasks import _decoded, score
from align.recipe import Recipe, parse_recipe

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None,
    reason="the extra 'reasoning' is not installed",
)
SMALL = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


def recipe(task: str = "chain_sum", method: str = "grpo", **data: Any) -> Recipe:
    stage = {"method": method, "learning_rate": 1e-4, "max_steps": 1, "objective": "accuracy"}
    if method == "grpo":
        stage["rewards"] = {"reasoning_gym": 1.0}
    data = {"task": f"reasoning_gym/{task}", "train": 20, "validation": 8, "test": 10, **data}
    raw = {"name": "mine", "base": "tiny-random", "data": data, "stages": {"one": stage}}
    return parse_recipe(raw)


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
@pytest.mark.parametrize(
    "task", ["chain_sum", "knights_knaves", "countdown", "graph_color", "arc_1d"]
)
def test_scoring_is_the_tasks_own(task: str) -> None:
    """Entries survive JSON: tuples, keys that are numbers, and numpy's scalars among them."""
    from reasoning_gym import create_dataset

    from align.data.reasoning import _row

    dataset = create_dataset(task, seed=3, size=4)
    for index in range(4):
        entry = dataset[index]
        row = _row(task, {}, entry)
        assert _decoded(json.loads(row["entry"])["entry"]) == entry
        for answer in (row["answer"], "no idea"):
            assert score(answer, row["entry"]) == dataset.score_answer(answer, entry)
        if entry["answer"] is not None:
            assert score(row["answer"], row["entry"]) == 1.0
            assert (
                score(
                    f"So <answer>0</answer>, no: <answer> {row['answer']} </answer>", row["entry"]
                )
                == 1.0
            )
            assert (
                score(f"<answer>{row['answer']}</answer> or <answer>?</answer>", row["entry"]) < 1.0
            )


@needs_package
def test_it_is_for_grpo_and_its_answers_can_be_checked() -> None:
    check_inputs(recipe())
    assert len(load_answers(recipe(), "validation")) == 8
    with pytest.raises(
        DataError, match="no worked solutions, so it is for grpo and rloo alone; sft needs"
    ):
        check_inputs(recipe(method="sft"))


@needs_package
@pytest.mark.parametrize(
    ("task", "config", "words"),
    [
        ("chain_sums", {}, "did you mean chain_sum or .*decimal_chain_sum.* allowed: ab, "),
        ("zzzzzz", {}, "'reasoning_gym/zzzzzz' is unknown; allowed: ab, acre"),
        ("chain_sum", {"terms": 3}, "has terms; allowed: min_terms, max_terms"),
        ("chain_sum", {"seed": 3}, "has seed; allowed: .*seed and sizes are those of the recipe"),
        ("chain_sum", {"min_terms": 9, "max_terms": 2}, "refused: max_terms must be >= min_terms"),
    ],
)
def test_what_it_does_not_know_is_refused(task: str, config: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        check_inputs(recipe(task, task_config=config))
    assert str(caught.value).startswith("data.task: ")


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(DataError, match=r"pip install 'alignery\[reasoning\]'") as caught:
        check_inputs(recipe("leg_counting"))
    assert str(caught.value).startswith("data.task: task 'reasoning_gym/leg_counting' needs")
    assert "\n" not in str(caught.value)
