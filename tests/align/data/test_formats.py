"""Data formats: how they are recognised, and what they are taken for."""

import json

import pytest

from align.data.splits import load_split
from align.errors import DataError
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
