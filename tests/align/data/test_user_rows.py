"""A user's own rows: recognised, refused with the row's number, split without overlap."""

import json
from itertools import pairwise

import pytest
from datasets import Dataset

from align.data.splits import check_disjoint, fingerprint, load_answers, load_split
from align.errors import DataError
from align.recipe import parse_recipe


def recipe(tmp_path, rows, method="sft", **sizes):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = {"method": method, "learning_rate": 1e-4, "max_steps": 1}
    stage["objective"] = {"sft": "nll", "grpo": "reward", "kto": "label_auc"}.get(
        method, "pair_accuracy"
    )
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
        ([], r"no rows; test 2 \+ validation 2 \+ train 4 = 8 are needed"),
        ([{"prompt": "a", "completion": "b"}], "1 row is too few .* = 8 .* at least 3 prompts"),
        (
            [{"messages": [{"role": "user", "content": "x"}] * 2}] * 9,
            "rows 1, 2, 3 and 6 more: column 'messages' must end",
        ),
    ],
    ids=["columns", "empty", "few", "none", "one", "turns"],
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


#: The first 16 digits of what the built-in task gave before kto came to it.
KNOWN = {
    ("sft", "train", 480): "5488f4ae92ea7a1c",
    ("sft", "live", 200): "562cdfaaeaa18f53",
    ("reward", "validation", 64): "57c8d56ed4af331a",
    ("dpo", "train", 480): "84668c6abc2d8424",
    ("dpo", "test", 200): "e3cf0dc46dec1bd5",
    ("grpo", "train", 480): "2b5a408bc4de0d4c",
}


def generated(method, task="arithmetic", **data):
    data = {"task": task, "train": 480, "validation": 64, "test": 200, **data}
    return recipe_of(method, data)


def recipe_of(method, data):
    stage = {"method": method, "learning_rate": 1e-4, "max_steps": 1, "objective": "accuracy"}
    stage["objective"] = {"reward": "pair_accuracy"}.get(method, "accuracy")
    if method == "grpo":
        stage |= {"rewards": {"brevity": 1.0}}
    return parse_recipe({"name": "m", "base": "b", "data": data, "stages": {"one": stage}})


@pytest.mark.parametrize(("method", "split", "count"), KNOWN, ids=lambda one: str(one))
def test_the_built_in_rows_are_what_they_were(method, split, count):
    rows = load_split(generated(method), "one", split)
    assert (len(rows), fingerprint(rows)[:16]) == (count, KNOWN[method, split, count])


def test_the_built_in_task_labels_right_answers_for_kto():
    from align.rewards import correctness

    rows = load_split(generated("kto"), "one", "train")
    liked = [row for row in rows if row["label"]]
    assert 0.4 < len(liked) / len(rows) < 0.6
    texts = [row["completion"][0]["content"] for row in liked]
    assert all(correctness(t, row["answer"]) for t, row in zip(texts, liked, strict=True))
    assert {row["kind"] for row in rows if not row["label"]} == {"wrong", "rambling"}
    for row in rows:
        right = correctness(row["completion"][0]["content"], row["answer"])
        assert right == (row["kind"] != "wrong")
    shown = {row["prompt"][0]["content"] for row in rows}
    others = load_split(generated("dpo"), "one", "train")
    assert len(shown & {row["prompt"][0]["content"] for row in others}) < 0.1 * len(rows)


def test_labels_as_people_write_them(tmp_path):
    given = [True, False, 1, 0, "true", "False", "1", "0", "TRUE", "false"]
    rows = [{"prompt": f"p{n}", "completion": f"c{n}", "label": one} for n, one in enumerate(given)]
    mine = recipe(tmp_path, rows, "kto", train=6)
    found = [
        row for split in ("train", "validation", "test") for row in load_split(mine, "one", split)
    ]
    labels = {row["completion"][0]["content"]: row["label"] for row in found}
    assert labels == {f"c{n}": n % 2 == 0 for n in range(10)}


@pytest.mark.parametrize("label", ["good", 2, "", None, [True]])
def test_another_label_is_refused_with_its_row(tmp_path, label):
    rows = [{"prompt": f"p{n}", "completion": "c", "label": n % 2} for n in range(12)]
    rows[4]["label"] = label
    with pytest.raises(DataError, match=r"row 5: column 'label' (must be true or false|is empty)"):
        load_split(recipe(tmp_path, rows, "kto"), "one", "train")


def test_labels_that_are_all_alike_are_refused(tmp_path):
    rows = [{"prompt": f"p{n}", "completion": "c", "label": True} for n in range(12)]
    with pytest.raises(DataError, match="every label is true; kto needs good and bad answers"):
        load_split(recipe(tmp_path, rows, "kto"), "one", "train")


def test_sft_does_not_imitate_answers_labelled_bad(tmp_path):
    rows = [{"prompt": f"p{n}", "completion": "c", "label": n != 3} for n in range(12)]
    with pytest.raises(DataError, match="row 4: label is false, and sft would imitate"):
        load_split(recipe(tmp_path, rows), "one", "train")


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


def test_whitespace_makes_no_other_prompt(tmp_path):
    spaced = ["What is {}  +  1?", " What is {} + 1?\n", "What is\t{} + 1?", "What is {} + 1?"]
    rows = [
        {"prompt": spaced[n % 4].format(n // 4), "completion": f"c{n}"} for n in range(48)
    ]  # 12 problems, four spellings each
    mine = recipe(tmp_path, rows, train=24, validation=8, test=8)
    splits = {name: load_split(mine, "one", name) for name in ("train", "validation", "test")}
    digits = {
        name: {row["prompt"][0]["content"].split()[2] for row in found}
        for name, found in splits.items()
    }
    assert not digits["train"] & digits["validation"] and not digits["train"] & digits["test"]
    one, two = ([{"role": "user", "content": text}] for text in ("a  b", "a b "))
    with pytest.raises(DataError, match="'a b' stands in both train and test"):
        check_disjoint({"train": [{"prompt": one}], "test": [{"prompt": two}]})
    other = [{"role": "system", "content": "a b"}]
    check_disjoint({"train": [{"prompt": one}], "test": [{"prompt": other}]})


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


def test_conversations_and_sharegpt_are_messages(tmp_path):
    turns = [{"from": "human", "value": "Say 1"}, {"from": "gpt", "value": "1"}]
    rows = [
        json.loads(json.dumps({"conversations": turns}).replace("1", str(n))) for n in range(12)
    ]
    first = load_split(recipe(tmp_path, rows), "one", "train")[0]
    assert first["prompt"][0]["role"] == "user"
    assert first["completion"][0]["role"] == "assistant"
    assert first["prompt"][0]["content"] == f"Say {first['completion'][0]['content']}"


def test_columns_of_ones_own_reach_rewards_and_empty_answers_are_none(tmp_path):
    rows = [{"prompt": f"p{n}", "answer": n if n else None, "level": n} for n in range(12)]
    mine = recipe(tmp_path, rows, "grpo", train=8)
    found = [
        row for split in ("train", "validation", "test") for row in load_split(mine, "one", split)
    ]
    assert {row["level"] for row in found} == set(range(12))
    assert [row["level"] for row in found if "answer" not in row] == [0]
    assert load_answers(mine, "train") == []


def test_a_file_written_anew_is_read_anew(tmp_path):
    def rows(word):
        return [{"prompt": f"p{n}", "completion": word} for n in range(12)]

    mine = recipe(tmp_path, rows("first"))
    assert load_split(mine, "one", "train")[0]["completion"][0]["content"] == "first"
    mine = recipe(tmp_path, rows("seconds"))
    assert load_split(mine, "one", "train")[0]["completion"][0]["content"] == "seconds"
