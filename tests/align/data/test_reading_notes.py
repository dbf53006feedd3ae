"""What is said once about how a recipe's data were read; `recipe new` and `validate` say it."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from alignery import app
from tests.align.data.conversations import jsonl
from tests.align.data.foreign_files import FORMS, Row, good, question, rated, rows_of


def recipe(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["recipe", *arguments])


def drafted(folder: Path, rows: list[Row], *methods: str) -> tuple[Result, str]:
    """`recipe new` over these rows, and the name of the recipe that it writes."""
    path, output = jsonl(folder / "rows.jsonl", rows), str(folder / "mine.yaml")
    chosen = [word for method in methods for word in ("--method", method)]
    return recipe(
        "new", "--from", str(path), "--base", "tiny-random", "--output", output, *chosen
    ), output


#: What is said of forms that are not TRL's.
NAMES = {
    "sharegpt": "ShareGPT",
    "sharegpt pairs": "conversations with two answers",
    "sharegpt with kto_tag": "labelled conversations",
    "openai preference": "OpenAI's preference",
    "openai reinforcement": "conversations with an answer",
    "alpaca": "Alpaca",
    "argilla's ratings": "rated answers",
    "hh-rlhf": "HH-RLHF's transcripts",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_drafted_and_valid(tmp_path: Path, form: str) -> None:
    told, output = drafted(tmp_path, rows_of(form, 24))
    assert told.exit_code == 0, told.output
    valid = recipe("validate", output)
    assert valid.exit_code == 0, valid.output
    if form in NAMES:
        assert all(f"rows.jsonl: read as {NAMES[form]}\n" in said.stdout for said in (told, valid))


def test_rows_that_are_left_out_and_columns_without_a_use_are_said_once(tmp_path: Path) -> None:
    rows = [{**rated(n, 1, 5), "id": n, "topic": "sums"} for n in range(24)]
    rows[3]["ratings"] = rows[5]["ratings"] = [4, 4]
    told, output = drafted(tmp_path, rows)
    path = tmp_path / "rows.jsonl"
    lines = [
        f"{path}: 2 of 24 rows have equal ratings, which give no pair: rows 4, 6",
        f"{path}: columns without a use: id, topic",
    ]
    assert all(line.removeprefix(f"{path}: ") in told.stdout for line in lines)
    valid = recipe("validate", output).stdout
    assert [valid.count(line) for line in lines] == [1, 1]
    notes = json.loads(recipe("validate", output, "--json").stdout)["notes"]
    assert set(lines) <= set(notes)


def test_a_column_that_a_reward_reads_has_a_use(tmp_path: Path) -> None:
    rows = [
        {"prompt": question(n), "answer": str(n + 3), "level": 1, "note": good(n)}
        for n in range(24)
    ]
    _, output = drafted(tmp_path, rows)
    assert "columns without a use: level, note" in recipe("validate", output).stdout
    (tmp_path / "levels.py").write_text("def level(completion, level):\n    return float(level)\n")
    raw = yaml.safe_load(Path(output).read_text())
    raw["stages"]["grpo"]["rewards"]["level"] = {"python": "levels:level", "weight": 0.1}
    Path(output).write_text(yaml.safe_dump(raw))
    valid = recipe("validate", output)
    assert "columns without a use: note" in valid.stdout, valid.output


@pytest.mark.parametrize("form", ["alpaca", "hh-rlhf", "thumbs"])
def test_a_broken_row_is_one_line_and_nothing_is_written(tmp_path: Path, form: str) -> None:
    rows = rows_of(form, 24)
    column = {"alpaca": "output", "hh-rlhf": "chosen", "thumbs": "thumbs"}[form]
    rows[6][column] = ""
    told, output = drafted(tmp_path, rows)
    assert told.exit_code == 2
    assert f"rows.jsonl: row 7: column '{column}' " in told.stderr
    assert told.stderr.strip().count("\n") == 0
    assert not Path(output).exists()


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_columns_without_a_use_are_named_as_in_the_file(tmp_path: Path, method: str) -> None:
    answers: Row = {"completion": "Yes."} if method == "sft" else {"chosen": "a", "rejected": "b"}
    rows = [{"prompt": question(n), **answers, "rating": 1, "topic": "x"} for n in range(16)]
    result, output = drafted(tmp_path, rows, method)
    assert result.exit_code == 0, result.output
    validated = recipe("validate", output).output
    unused = "topic" if method == "sft" else "rating, topic"
    assert f"columns without a use: {unused}\n" in validated
