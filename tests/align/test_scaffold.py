"""`recipe new`: recognising a person's own file and writing a recipe that fits it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from align.data.formats import inspect_file
from align.data.splits import load_split
from align.errors import DataError, RecipeError
from align.recipe import Recipe, load_recipe
from align.scaffold import draft_recipe, propose_splits, recipe_name, write_recipe

ASK = [{"role": "user", "content": "What is 2 + 3?"}]
SAY = [{"role": "assistant", "content": "2 + 3 = 5"}]
Row = dict[str, Any]


def ask(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"What is {number} + 3?"}]


def row(number: int, *columns: str) -> Row:
    """A conversational row; every number has a prompt of its own."""
    values: Row = {
        "prompt": ask(number),
        "completion": SAY,
        "chosen": SAY,
        "rejected": [{"role": "assistant", "content": "6"}],
        "answer": "5",
        "messages": ask(number) + SAY,
        "text": "some prose",
        "label": True,
        "source": "forum",
    }
    return {column: values[column] for column in columns}


def jsonl(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def rows(*columns: str, count: int = 40) -> list[Row]:
    return [row(number, *columns) for number in range(count)]


def written(data: Path) -> Recipe:
    """The recipe that is written beside the data, read back."""
    output = data.with_suffix(".yaml")
    write_recipe(draft_recipe(inspect_file(data), "mine", "tiny-random", output), output)
    return load_recipe(output)


@pytest.mark.parametrize(
    ("columns", "stages"),
    [
        (("messages",), ["sft"]),
        (("prompt", "completion"), ["sft"]),
        (("prompt", "completion", "source"), ["sft"]),
        (("chosen", "rejected", "prompt"), ["reward", "dpo"]),
        (("prompt", "answer"), ["grpo"]),
        (("prompt", "completion", "answer"), ["sft", "grpo"]),
        (("prompt", "chosen", "rejected", "answer"), ["reward", "dpo", "grpo"]),
        (
            ("prompt", "completion", "chosen", "rejected", "answer"),
            ["sft", "reward", "dpo", "grpo"],
        ),
    ],
)
def test_a_recipe_has_the_stages_that_the_data_permits(
    tmp_path: Path, columns: tuple[str, ...], stages: list[str]
) -> None:
    recipe = written(jsonl(tmp_path / "data.jsonl", rows(*columns)))
    assert recipe.order() == stages
    assert all("learning_rate" in one.space() for one in recipe.stages.values())
    assert all(one.resolve().lora.lora_alpha == 16 for one in recipe.stages.values())
    for stage in stages:
        data = recipe.data_of(stage)
        assert len(load_split(recipe, stage, "train")) == data.train
        assert len(load_split(recipe, stage, "test")) == data.test


def test_preference_may_hold_its_prompt_in_both_answers(tmp_path: Path) -> None:
    found = [
        {"chosen": ask(n) + SAY, "rejected": [*ask(n), {"role": "assistant", "content": "no"}]}
        for n in range(20)
    ]
    assert written(jsonl(tmp_path / "data.jsonl", found)).order() == ["reward", "dpo"]


def test_answers_without_numbers_leave_grpo_out(tmp_path: Path) -> None:
    found = [{**one, "answer": "blue"} for one in rows("prompt", "completion")]
    inspected = inspect_file(jsonl(tmp_path / "data.jsonl", found))
    assert (inspected.methods, inspected.ignored) == (("sft",), ("answer",))


def test_plain_text_from_csv(tmp_path: Path) -> None:
    data = tmp_path / "Sums of mine.csv"
    with data.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["prompt", "answer"])
        table.writerows([[f"What is {n} + 3?\nThink.", n + 3] for n in range(20)])
    found = inspect_file(data)
    assert (found.rows, found.prompts, found.methods) == (20, 20, ("grpo",))
    assert recipe_name(data) == "sums-of-mine"


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows("messages")), tmp_path / "data.parquet")
    assert written(tmp_path / "data.parquet").order() == ["sft"]


def test_rows_of_one_prompt_are_left_for_training_to_do_without(tmp_path: Path) -> None:
    """Splits keep equal prompts together, so not every row fits into one."""
    repeated = [row(number // 3, "prompt", "completion") for number in range(60)]
    recipe = written(jsonl(tmp_path / "data.jsonl", repeated))
    assert len(load_split(recipe, "sft", "train")) == recipe.data_of("sft").train > 30


def test_the_data_path_is_relative_inside_the_recipes_folder(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    found = inspect_file(jsonl(tmp_path / "rows" / "data.jsonl", rows("messages")))
    text = draft_recipe(found, "mine", "tiny-random", tmp_path / "mine.yaml")
    assert "path: rows/data.jsonl" in text


def test_an_existing_recipe_is_kept_unless_forced(tmp_path: Path) -> None:
    output = tmp_path / "mine.yaml"
    output.write_text("precious")
    with pytest.raises(RecipeError, match="--force"):
        write_recipe("new", output)
    assert output.read_text() == "precious"
    write_recipe("new", output, force=True)
    assert output.read_text() == "new"


def test_too_few_prompts_are_refused(tmp_path: Path) -> None:
    same = [row(number % 3, "prompt", "completion") for number in range(50)]
    with pytest.raises(DataError, match="3 different prompts are too few"):
        propose_splits(inspect_file(jsonl(tmp_path / "data.jsonl", same)))


GOOD = json.dumps(row(1, "prompt", "completion"))
WRONG: list[tuple[str, str]] = [
    ("", "no rows; at least 10 different prompts are needed"),
    ("\n\n", "no rows"),
    (f"{GOOD}\nnot json\n", "row 2 is not JSON"),
    (f"{GOOD}\n[1]\n", "row 2: not an object"),
    (f'{GOOD}\n\n{{"prompt": "x"}}\n', "row 3 differ: row 1 has completion, prompt; row 3 has"),
    ('{"prompt": "x", "completion": ""}', "row 1: column 'completion' is empty"),
    ('{"prompt": "x", "completion": null}', "column 'completion' is empty"),
    ('{"prompt": "x", "completion": 5}', "column 'completion' must be text or a list"),
    (f'{GOOD}\n{{"prompt": "x", "completion": "y"}}', "text in some rows and messages in others"),
    ('{"messages": [{"role": "user", "content": "x"}]}', "must end with the assistant's turn"),
    ('{"messages": [{"role": "assistant", "content": "x"}]}', "needs a turn before"),
    ('{"messages": [{"who": "human", "text": "x"}]}', "role system, user, assistant, tool"),
    ('{"messages": "x"}', "must be a list of messages"),
    ('{"chosen": "a", "rejected": "b"}', "a column 'prompt' is needed"),
    ('{"question": "x", "reply": "y"}', "columns question, reply are none of TRL's formats"),
    ('{"text": "x"}', "language modelling: .*split the text"),
    ('{"prompt": "x"}', "prompt only: GRPO needs an answer"),
    ('{"prompt": "x", "answer": "blue"}', "row 1: column 'answer' holds no number"),
    ('{"prompt": "x", "answer": null}', "row 1: column 'answer' holds no number"),
    ('{"prompt": "x", "completion": "y", "label": "nice"}', "row 1: column 'label' must be true"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_malformed_file_gets_one_line_with_row_numbers(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "data.jsonl").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        inspect_file(tmp_path / "data.jsonl")
    assert str(caught.value).startswith(str(tmp_path / "data.jsonl"))
    assert "\n" not in str(caught.value)


def test_many_wrong_rows_are_counted(tmp_path: Path) -> None:
    bad = [{"prompt": "x", "completion": " "}] * 9
    with pytest.raises(DataError, match="rows 1, 2, 3 and 6 more: column 'completion' is empty"):
        inspect_file(jsonl(tmp_path / "data.jsonl", bad))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.txt", b"x", "allowed: .jsonl, .json, .csv, .parquet"),
        ("data.jsonl", b"\xff\xfe\x00", "not UTF-8"),
        ("data.parquet", b"nonsense", "not Parquet"),
        ("data.csv", b"prompt,completion\na,b,c\n", "row 1: not as many fields"),
        ("data.json", b"[{]", "not a JSON list"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        inspect_file(tmp_path / name)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        inspect_file(tmp_path / "none.jsonl")
