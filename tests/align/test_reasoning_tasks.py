"""Tasks of reasoning_gym: their own scoring, and what is said of those that are unknown."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from align.errors import DataError
from align.preflight import check_inputs
from align.reasoning_tasks import _decoded, score
from tests.align.data.reasoning_recipes import needs_package, recipe


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
