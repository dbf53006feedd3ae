"""`recipe new`: recognising a person's own file and writing a recipe that fits it."""

import csv
from pathlib import Path

import pytest

from align.data.formats import inspect_file
from align.data.splits import load_split
from align.errors import DataError, RecipeError
from align.recipe import Recipe, load_recipe
from align.scaffold import draft_recipe, propose_splits, recipe_name, write_recipe
from tests.align.data.conversations import SAY, ask, jsonl, row, rows


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
