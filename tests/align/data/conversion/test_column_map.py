"""Columns of other names: `data.columns` reads them, and `recipe new` proposes it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from align.data.conversion.column_map import proposed
from align.data.formats import inspect_file
from align.data.splits import load_split
from align.errors import DataError, RecipeError
from align.recipe import parse_recipe
from align.scaffold import draft_recipe
from tests.align.data.conversations import jsonl
from tests.align.data.foreign_files import Row, bad, good, human, question
from tests.align.data.recipes import recipe

#: A file's row, and what its columns are proposed as.
PROPOSALS: list[tuple[Row, dict[str, str]]] = [
    ({"question": "q", "response": "r"}, {"prompt": "question", "completion": "response"}),
    ({"Query": "q", "Reply": "r"}, {"prompt": "Query", "completion": "Reply"}),
    ({"input": "q", "target": "r"}, {"prompt": "input", "completion": "target"}),
    ({"question": "q", "answer": "4"}, {"prompt": "question", "answer": "answer"}),
    ({"question": "q", "answer": "four"}, {"prompt": "question", "completion": "answer"}),
    ({"problem": "q", "solution": "4"}, {"prompt": "problem", "answer": "solution"}),
    (
        {"question": "q", "response chosen": "r", "response-rejected": "s"},
        {"prompt": "question", "chosen": "response chosen", "rejected": "response-rejected"},
    ),
    ({"Prompt": "q", "Completion": "r"}, {"prompt": "Prompt", "completion": "Completion"}),
    ({"Dialogue": [{"from": "human", "value": "q"}]}, {"messages": "Dialogue"}),
    ({"dialogue": "q"}, {}),
    ({"headline": "q", "body": "r"}, {}),
]


@pytest.mark.parametrize(("row", "columns"), PROPOSALS)
def test_known_names_are_proposed(row: Row, columns: dict[str, str]) -> None:
    assert proposed({1: row}, set(row)) == columns


def asked(count: int = 16) -> list[Row]:
    return [{"id": n, "question": question(n), "response": good(n)} for n in range(count)]


def mapped(folder: Path, rows: list[Row], columns: Any, method: str = "sft") -> list[Row]:
    mine = recipe(folder, rows, method)
    assert mine.data is not None
    mine.data.columns = columns
    return load_split(mine, "one", "train")


def test_a_proposal_stands_in_the_recipe_and_is_read(tmp_path: Path) -> None:
    findings = inspect_file(jsonl(tmp_path / "asked.jsonl", asked()))
    assert findings.ignored == ("id",)
    text = draft_recipe(findings, "mine", "tiny-random", tmp_path / "mine.yaml")
    assert "  columns: {prompt: question, completion: response}  # " in text
    drafted = parse_recipe(yaml.safe_load(text), folder=tmp_path)
    row = load_split(drafted, "sft", "train")[0]
    assert row["prompt"][0]["content"].startswith("What is")
    assert row["completion"][0]["content"].startswith("The sum is")


def test_without_the_map_the_message_says_it(tmp_path: Path) -> None:
    advice = r"found id, question, response; in the recipe, data.columns: {prompt: question, compl"
    with pytest.raises(DataError, match=advice):
        mapped(tmp_path, asked(), None)


def test_a_question_beside_pairs_is_their_prompt(tmp_path: Path) -> None:
    rows = [
        {"system": "Be brief.", "question": question(n), "chosen": good(n), "rejected": bad(n)}
        for n in range(16)
    ]
    assert inspect_file(jsonl(tmp_path / "orca.jsonl", rows)).mapping == {"prompt": "question"}
    with pytest.raises(DataError, match=r"begin apart, .*, data.columns: {prompt: question} names"):
        mapped(tmp_path, rows, None, "dpo")
    for row in mapped(tmp_path, rows, {"prompt": "question"}, "dpo"):
        assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]


def test_a_mapped_column_takes_the_place_of_its_namesake(tmp_path: Path) -> None:
    rows = [{**row, "prompt": "old"} for row in asked()]
    for row in mapped(tmp_path, rows, {"prompt": "question", "completion": "response"}):
        assert row["prompt"][0]["content"].startswith("What is")


def test_a_conversation_can_be_the_prompt(tmp_path: Path) -> None:
    rows = [{"turns": human(n), "gold": n} for n in range(16)]
    for row in mapped(tmp_path, rows, {"prompt": "turns", "answer": "gold"}, "grpo"):
        assert row["prompt"] == [{"role": "user", "content": question(int(row["answer"]))}]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"prompt": "quesion", "completion": "response"},
            "data.columns.prompt: no column 'quesion'; did you mean 'question'\\?; the columns are "
            "id, question, response",
        ),
        (
            {"prompt": "id", "completion": "response"},
            "rows 1, 2, 3 and 13 more: column 'id' must be text or a list of .*; got 0",
        ),
        (
            {"prompt": "question", "completion": "response", "system": "id"},
            "rows 1, 2, 3 and 13 more: column 'id' must be text; got 0",
        ),
    ],
)
def test_a_wrong_map_is_refused_with_the_files_names(
    tmp_path: Path, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        mapped(tmp_path, asked(), columns)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"path": "x.jsonl", "columns": {"promt": "question"}},
            "names of TRL's columns .*; got 'promt'; did you mean 'prompt'",
        ),
        ({"task": "arithmetic", "columns": {"prompt": "q"}}, "columns belongs to a path or a data"),
        ({"path": "x.jsonl", "columns": ["question"]}, "data.columns"),
    ],
)
def test_a_map_that_is_none_is_refused_with_the_recipe(data: Row, message: str) -> None:
    stage = {"method": "sft", "objective": "nll", "learning_rate": 1e-4, "max_steps": 1}
    with pytest.raises(RecipeError, match=message):
        parse_recipe({"name": "m", "base": "b", "data": data, "stages": {"sft": stage}})


def test_searches_without_a_map_are_those_of_earlier_versions(tmp_path: Path) -> None:
    plain = recipe(tmp_path, asked()).data
    assert plain is not None
    assert "columns" not in plain.model_dump(mode="json")
    plain.columns = {"prompt": "question"}
    assert type(plain).model_validate_json(plain.model_dump_json()) == plain
