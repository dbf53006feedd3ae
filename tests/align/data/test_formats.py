"""Data formats: how they are recognised, and what they are taken for."""

import json
from pathlib import Path

import pytest

from align.data.formats import inspect_file
from align.data.splits import load_split
from align.errors import DataError
from tests.align.data.conversations import jsonl, row, rows
from tests.align.data.recipes import recipe


def test_sft_does_not_imitate_answers_labelled_bad(tmp_path):
    rows = [{"prompt": f"p{n}", "completion": "c", "label": n != 3} for n in range(12)]
    with pytest.raises(DataError, match="row 4: label is false, and sft would imitate"):
        load_split(recipe(tmp_path, rows), "one", "train")


def test_conversations_and_sharegpt_are_messages(tmp_path):
    turns = [{"from": "human", "value": "Say 1"}, {"from": "gpt", "value": "1"}]
    rows = [
        json.loads(json.dumps({"conversations": turns}).replace("1", str(n))) for n in range(12)
    ]
    first = load_split(recipe(tmp_path, rows), "one", "train")[0]
    assert first["prompt"][0]["role"] == "user"
    assert first["completion"][0]["role"] == "assistant"
    assert first["prompt"][0]["content"] == f"Say {first['completion'][0]['content']}"


def test_answers_without_numbers_leave_grpo_out(tmp_path: Path) -> None:
    found = [{**one, "answer": "blue"} for one in rows("prompt", "completion")]
    inspected = inspect_file(jsonl(tmp_path / "data.jsonl", found))
    assert (inspected.methods, inspected.ignored) == (("sft",), ("answer",))


GOOD = json.dumps(row(1, "prompt", "completion"))
WRONG: list[tuple[str, str]] = [
    ("", "no rows; at least 10 different prompts are needed"),
    ("\n\n", "no rows"),
    (f"{GOOD}\nnot json\n", "row 2: not JSON"),
    (f"{GOOD}\n[1]\n", "row 2: not an object"),
    (f'{GOOD}\n\n{{"prompt": "x"}}\n', "row 3: .*'completion'"),
    ('{"prompt": "x", "completion": ""}', "row 1: column 'completion' is empty"),
    ('{"prompt": "x", "completion": null}', "column 'completion' is empty"),
    ('{"prompt": "x", "completion": 5}', "column 'completion' must be text or a list"),
    (f'{GOOD}\n{{"prompt": "x", "completion": "y"}}', "text in some rows and messages in others"),
    ('{"messages": [{"role": "user", "content": "x"}]}', "must end with the assistant's turn"),
    ('{"messages": [{"role": "assistant", "content": "x"}]}', "needs a turn before"),
    ('{"messages": [{"who": "human", "text": "x"}]}', "role system, user, assistant, tool"),
    ('{"messages": "x"}', "must be a list of messages"),
    ('{"chosen": "a", "rejected": "b"}', "a column 'prompt' is needed"),
    ('{"headline": "x", "body": "y"}', "columns headline, body are none of TRL's formats"),
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
