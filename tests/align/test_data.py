"""A user's own rows: recognised, refused with the row's number, split without overlap."""

import json

import pytest

from align.errors import DataError
from align.recipe import parse_recipe
from align.stages.data import check_disjoint, load_answers, load_split


def recipe(tmp_path, rows, method="sft", **sizes):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = {"method": method, "learning_rate": 1e-4, "max_steps": 1}
    stage["objective"] = {"sft": "nll", "grpo": "reward"}.get(method, "pair_accuracy")
    if method == "grpo":
        stage |= {"rewards": {"brevity": 1.0}}
    data = {"path": str(path), "train": 4, "validation": 2, "test": 2, **sizes}
    raw = {"name": "mine", "base": "tiny-random", "data": data, "stages": {"one": stage}}
    return parse_recipe(raw)


def test_splits_are_disjoint_by_prompt_and_stable(tmp_path):
    rows = [{"prompt": f"p{index // 2}", "completion": f"c{index}"} for index in range(24)]
    mine = recipe(tmp_path, rows)
    splits = {name: load_split(mine, "one", name) for name in ("train", "validation", "test")}
    assert [len(splits[name]) for name in splits] == [4, 2, 2]
    check_disjoint(splits)
    assert (
        load_split(recipe(tmp_path, rows[::-1]), "one", "test")[0]["prompt"]
        == splits["test"][0]["prompt"]
    )


def test_an_overlap_is_an_error():
    row = {"prompt": [{"role": "user", "content": "same"}]}
    with pytest.raises(DataError, match=r"same.*train and test"):
        check_disjoint({"train": [row], "test": [row]})


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Say one", "chosen": "one", "rejected": "two"},
        {"chosen": "Say one", "rejected": "Say two"},
        {
            "chosen": [{"role": "user", "content": "Say"}, {"role": "assistant", "content": "one"}],
            "rejected": [
                {"role": "user", "content": "Say"},
                {"role": "assistant", "content": "two"},
            ],
        },
    ],
    ids=["plain", "implicit", "conversations"],
)
def test_preference_formats_become_prompt_and_two_answers(tmp_path, row):
    def numbered(index):
        return json.loads(json.dumps(row).replace("Say", f"Say {index}"))

    mine = recipe(tmp_path, [numbered(index) for index in range(12)], "reward")
    first = load_split(mine, "one", "train")[0]
    assert first["prompt"][-1]["role"] == "user"
    assert [turn["role"] for turn in first["chosen"] + first["rejected"]] == ["assistant"] * 2
    assert first["chosen"][0]["content"].endswith("one")
    assert first["rejected"][0]["content"].endswith("two")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"question": "a", "completion": "b"}] * 9, "needs the columns prompt . completion"),
        ([{"prompt": "a", "completion": "b"}, {"prompt": "", "completion": "b"}], "row 2: column"),
        ([{"prompt": f"{i}", "completion": "b"} for i in range(5)], "5 rows .* are too few"),
        ([{"messages": [{"role": "user", "content": "x"}] * 2}] * 9, "row 1: messages must end"),
    ],
    ids=["columns", "empty", "few", "turns"],
)
def test_rows_that_cannot_be_used_are_named(tmp_path, rows, words):
    with pytest.raises(DataError, match=words):
        load_split(recipe(tmp_path, rows), "one", "train")


def test_a_missing_file_and_an_unreachable_dataset(tmp_path):
    mine = recipe(tmp_path, [])
    mine.data.path = str(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match="no such file"):
        load_split(mine, "one", "train")
    mine.data.path, mine.data.dataset = None, "nobody/nothing-here"
    with pytest.raises(DataError, match="nobody/nothing-here"):
        load_split(mine, "one", "train")


def test_answers_come_from_rows_that_have_them(tmp_path):
    rows = [{"prompt": f"p{index}", "answer": index} for index in range(12)]
    mine = recipe(tmp_path, rows, "grpo")
    assert {row["answer"] for row in load_answers(mine, "test")} <= {str(i) for i in range(12)}
    bare = recipe(tmp_path, [{"prompt": f"p{i}", "completion": "x"} for i in range(12)])
    assert load_answers(bare, "test") == []
