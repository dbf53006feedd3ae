"""What is said of a recipe's inputs before anything is started."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from align.base import model_source
from align.errors import DataError
from align.preflight import check_inputs
from tests.align.data.chains import recipe


def test_rewards_have_the_columns_that_they_need(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"p{n}", "hint": "x" if n else None} for n in range(20)]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    data = {"path": str(path), "train": 10, "validation": 4, "test": 4}
    (tmp_path / "mine.py").write_text("def fits(completion, hint): return hint in completion\n")
    own = {"weight": 1.0, "python": "mine:fits", "folder": str(tmp_path)}
    check_inputs(recipe(grpo={"data": data, "rewards": {"brevity": 1.0, "repetition": 1.0}}))
    with pytest.raises(DataError, match="no row has column 'answer', and reward 'correctness'"):
        check_inputs(recipe(grpo={"data": data, "rewards": {"brevity": 1.0, "correctness": 1.0}}))
    with pytest.raises(DataError, match="row 1: nothing in column 'hint', and reward 'fits'"):
        check_inputs(recipe(grpo={"data": data, "rewards": {"fits": own}}))


def rows_file(path: Path, **columns: str) -> dict[str, Any]:
    rows = [{"prompt": f"p{n}", "completion": f"c{n}", **columns} for n in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path), "train": 10, "validation": 4, "test": 4}


@pytest.mark.parametrize("objective", ["accuracy", "reward"])
def test_an_objective_of_answers_needs_answers(tmp_path: Path, objective: str) -> None:
    rewards = {"correctness": 1.0}
    bare = {"data": rows_file(tmp_path / "bare.jsonl"), "rewards": rewards}
    with pytest.raises(DataError) as caught:
        check_inputs(recipe(sft={**bare, "objective": objective}))
    assert str(caught.value).startswith(f"stages.sft.objective: '{objective}' needs answers that")
    assert f"add a column 'answer' to stages.sft.data.path ({tmp_path}/bare.jsonl)" in str(
        caught.value
    )
    assert str(caught.value).endswith("or take another objective: nll")
    check_inputs(recipe(sft={**bare, "objective": "nll"}))
    answered = {"data": rows_file(tmp_path / "answered.jsonl", answer="7"), "rewards": rewards}
    check_inputs(recipe(sft={**answered, "objective": objective}))


def test_a_rung_metric_of_answers_needs_answers(tmp_path: Path) -> None:
    stage = {"objective": "nll", "sweep": {"pruner": "paired", "rung_metric": "accuracy"}}
    bare = {"data": rows_file(tmp_path / "bare.jsonl"), **stage}
    with pytest.raises(DataError) as caught:
        check_inputs(recipe(sft=bare))
    told = str(caught.value)
    assert told.startswith("stages.sft.sweep.rung_metric: 'accuracy' needs answers that can be ch")
    assert "or take another rung metric: " in told and "nll" in told
    check_inputs(recipe(sft={**bare, "sweep": {"pruner": "paired"}}))
    answered = {"data": rows_file(tmp_path / "answered.jsonl", answer="7"), **stage}
    check_inputs(recipe(sft=answered))


def test_an_error_names_the_field_of_the_data(tmp_path: Path) -> None:
    data = {"path": str(tmp_path / "nowhere.jsonl"), "train": 10, "validation": 4, "test": 4}
    with pytest.raises(DataError, match=r"^stages\.sft\.data\.path: .*no such file; correct the"):
        check_inputs(recipe(sft={"data": data}))


def test_stages_that_are_not_asked_for_are_not_checked(tmp_path: Path) -> None:
    missing = {"path": str(tmp_path / "nowhere.jsonl"), "train": 10, "validation": 4, "test": 4}
    made = recipe(sft={"data": rows_file(tmp_path / "rows.jsonl")}, dpo={"data": missing})
    check_inputs(made, ["sft"])
    with pytest.raises(DataError, match=r"^stages\.dpo\.data\.path: "):
        check_inputs(made)


def test_without_the_hub_a_base_and_rows_on_it_are_taken_as_they_are() -> None:
    data = {"dataset": "nobody/nothing", "train": 10, "validation": 4, "test": 4}
    made = recipe(sft={"data": data})
    check_inputs(made, hub=False)
    check_inputs(made.model_copy(update={"base": "nobody/nothing"}), hub=False)
    with pytest.raises(DataError, match=r"^stages\.sft\.data\.dataset: dataset 'nobody/nothing'"):
        check_inputs(made)


def test_rows_that_the_bases_template_refuses_are_named(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(model_source("tiny-random"), base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
        + tokenizer.chat_template
    )
    tokenizer.save_pretrained(base)
    rows = {**rows_file(tmp_path / "rows.jsonl"), "train": 12}
    check_inputs(recipe(sft={"data": rows}).model_copy(update={"base": str(base)}))
    turns = [[{"role": "user", "content": f"p{n}"}] for n in range(20)]
    turns[6].insert(0, {"role": "system", "content": "be brief"})
    lines = [{"messages": [*row, {"role": "assistant", "content": "yes"}]} for row in turns]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = recipe(sft={"data": rows})
    assert check_inputs(made)["sft"].lines() == []
    with pytest.raises(DataError) as caught:
        check_inputs(made.model_copy(update={"base": str(base)}))
    assert str(caught.value).startswith("stages.sft.data.path: ")
    assert "chat template cannot render 1 of " in str(caught.value)
    assert "row 7: No system role" in str(caught.value)
