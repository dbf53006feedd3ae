"""Messages within cells of CSV."""

import json
from pathlib import Path

import pytest

from tests.align.data.written import refusal, rows_of, written

MESSAGES = [{"role": "user", "content": 'Say "hi", please'}, {"role": "assistant", "content": "hi"}]


def cell(text: str) -> str:
    quoted = text.replace('"', '""')
    return f'"{quoted}"'


@pytest.mark.parametrize("form", [json.dumps, repr], ids=["JSON", "pandas"])
def test_lists_of_messages_are_lists(tmp_path: Path, form) -> None:
    content = f"id,messages\n1,{cell(form(MESSAGES))}\n2,\n"
    assert rows_of(tmp_path, "data.csv", content) == [
        {"id": "1", "messages": MESSAGES},
        {"id": "2", "messages": None},
    ]


@pytest.mark.parametrize("text", ["[1, 2]", '{"a": 1}', '[{"name": "a"}]'])
def test_other_json_remains_text(tmp_path: Path, text: str) -> None:
    rows = rows_of(tmp_path, "data.csv", f"prompt,completion\na,{cell(text)}\n")
    assert rows[0]["completion"] == text


def test_a_column_of_text_that_looks_like_messages_once_remains_text(tmp_path: Path) -> None:
    content = f"prompt,completion\na,{cell(json.dumps(MESSAGES))}\nb,c\n"
    assert rows_of(tmp_path, "data.csv", content)[0]["completion"] == json.dumps(MESSAGES)


def test_broken_lists_are_named_by_row(tmp_path: Path) -> None:
    numpy = "[{'role': 'user', 'content': 'a'}\n {'role': 'assistant', 'content': 'b'}]"
    content = f"messages\n{cell(repr(MESSAGES))}\n{cell(numpy)}\n"
    message = refusal(written(tmp_path, "data.csv", content))
    assert message.startswith("row 2: column 'messages' should hold a list of messages as JSON")
