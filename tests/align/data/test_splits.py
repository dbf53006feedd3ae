"""Splits that share no prompt, and rows that are the same whenever they are asked for."""

import pytest

from align.data.splits import check_disjoint, fingerprint, load_answers, load_split
from align.errors import DataError
from tests.align.data.recipes import generated, recipe


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


@pytest.mark.parametrize(("method", "split", "count"), KNOWN, ids=lambda one: str(one))
def test_the_built_in_rows_are_what_they_were(method, split, count):
    rows = load_split(generated(method), "one", split)
    assert (len(rows), fingerprint(rows)[:16]) == (count, KNOWN[method, split, count])


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


def test_a_file_written_anew_is_read_anew(tmp_path):
    def rows(word):
        return [{"prompt": f"p{n}", "completion": word} for n in range(12)]

    mine = recipe(tmp_path, rows("first"))
    assert load_split(mine, "one", "train")[0]["completion"][0]["content"] == "first"
    mine = recipe(tmp_path, rows("seconds"))
    assert load_split(mine, "one", "train")[0]["completion"][0]["content"] == "seconds"


def test_a_task_that_runs_out_of_prompts_says_how_many_it_has():
    with pytest.raises(DataError, match=r"has only \d+ different prompts for train") as caught:
        load_split(generated("grpo", "expressions", train=7500), "one", "train")
    count = int(str(caught.value).rsplit(" ", 1)[1])
    least = generated("grpo", "expressions", train=count)
    assert len(load_split(least, "one", "train")) == count
