"""Rows of a file or a dataset in the form that trainers take."""

import json
from datetime import date
from itertools import pairwise

import pytest
from datasets import Dataset

from align.data.splits import check_disjoint, load_answers, load_split
from align.errors import DataError
from tests.align.data.recipes import recipe


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


def test_a_missing_file_and_an_unreachable_dataset(tmp_path):
    mine = recipe(tmp_path, [])
    mine.data.path = str(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match="no such file"):
        load_split(mine, "one", "train")
    mine.data.path, mine.data.dataset = None, "nobody/nothing-here"
    with pytest.raises(DataError, match="nobody/nothing-here"):
        load_split(mine, "one", "train")


def test_kto_takes_pairs_as_a_good_and_a_bad_answer(tmp_path):
    rows = [{"prompt": f"p{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(60)]
    mine = recipe(tmp_path, rows, "kto", train=80, validation=10, test=10)
    splits = {name: load_split(mine, "one", name) for name in ("train", "validation", "test")}
    check_disjoint(splits)
    train = splits["train"]
    assert len(train) == 80 and sum(row["label"] for row in train) == 40
    for row in train:
        kind = "good" if row["label"] else "bad"
        assert row["completion"][0]["content"] == f"{kind} {row['prompt'][0]['content'][1:]}"
    # TRL pairs a prompt with its neighbour's answer, which must be one to another prompt.
    assert sum(a["prompt"] == b["prompt"] for a, b in pairwise(train)) < 8
    assert len({row["label"] for row in train[:12]}) == 2


def test_a_dataset_of_the_hub_is_checked_like_a_file(tmp_path, monkeypatch):
    held = {"rows": [{"prompt": f"p{n}", "completion": f"c{n}"} for n in range(12)]}
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: Dataset.from_list(held["rows"]))
    mine = recipe(tmp_path, [])
    mine.data.path, mine.data.dataset = None, "someone/good"
    assert len(load_split(mine, "one", "train")) == 4
    held["rows"][2]["completion"] = " "
    mine.data.dataset = "someone/bad"
    with pytest.raises(DataError, match=r"'someone/bad' \(split 'train'\): row 3: column 'compl"):
        load_split(mine, "one", "train")


def test_values_of_a_dataset_are_read_like_a_file_of_arrow(tmp_path, monkeypatch):
    rows = [
        {"prompt": f"p{n}", "answer": float("nan") if n == 3 else n, "day": date(2026, 11, n + 1)}
        for n in range(12)
    ]
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: Dataset.from_list(rows))
    mine = recipe(tmp_path, [], "grpo", train=8)
    mine.data.path, mine.data.dataset = None, "someone/numbers"
    read = [
        row for split in ("train", "validation", "test") for row in load_split(mine, "one", split)
    ]
    (third,) = [row for row in read if row["prompt"][0]["content"] == "p3"]
    assert "answer" not in third and third["day"] == "2026-11-04"
    assert sum("answer" in row for row in read) == 11


def test_columns_of_ones_own_reach_rewards_and_empty_answers_are_none(tmp_path):
    rows = [{"prompt": f"p{n}", "answer": n if n else None, "level": n} for n in range(12)]
    mine = recipe(tmp_path, rows, "grpo", train=8)
    found = [
        row for split in ("train", "validation", "test") for row in load_split(mine, "one", split)
    ]
    assert {row["level"] for row in found} == set(range(12))
    assert [row["level"] for row in found if "answer" not in row] == [0]
    assert load_answers(mine, "train") == []
