"""Completions of a file to try rewards on: how rows are read, and how they are grouped."""

from pathlib import Path
from typing import Any

import pytest

from align.errors import DataError
from align.rewards.samples import Sample, grouped, read_samples

FILE = Path("given.jsonl")


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_texts_and_messages_are_read_and_other_columns_are_passed_on() -> None:
    answer = [{"role": "assistant", "content": "four"}]
    rows = {
        1: {"prompt": "2 + 2", "completion": "4", "answer": "4"},
        2: {"prompt": user("3 + 1"), "completion": answer},
    }
    assert read_samples(rows, FILE) == [
        Sample(user("2 + 2"), "4", {"answer": "4"}),
        Sample(user("3 + 1"), "four"),
    ]


def test_samples_of_a_prompt_come_together_in_the_order_of_the_file() -> None:
    pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("a", "4")]
    rows = {n: {"prompt": prompt, "completion": text} for n, (prompt, text) in enumerate(pairs)}
    groups = grouped(read_samples(rows, FILE))
    assert [[sample.text for sample in group] for group in groups] == [["1", "3"], ["2", "4"]]
    assert grouped([]) == []


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "a"}, "row 7 has no prompt and no completion; .* found text"),
        ({"prompt": "a", "completion": None}, "row 7 has no completion"),
        ({"prompt": 3, "completion": "b"}, "row 7: column 'prompt' must be a text or a list"),
        ({"prompt": [{"role": "user"}], "completion": "b"}, "row 7: column 'prompt' must be"),
        ({"prompt": "a", "completion": []}, "row 7: column 'completion' must be a text or a list"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(row: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=rf"^given\.jsonl: {told}"):
        read_samples({7: row}, FILE)
