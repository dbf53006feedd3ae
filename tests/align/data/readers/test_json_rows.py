"""JSON in the forms in which rows are written, and what is refused by row."""

import json
from pathlib import Path

import pytest

from align.data.user_rows import read_rows
from tests.align.data.written import refusal, rows_of, written

ROWS = [{"prompt": f"p{n}", "completion": [n, "x"]} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        "\ufeff" + LINES.replace("\n", "\r\n"),
        "\n\n" + LINES.replace("\n", "\n\n"),
        json.dumps(ROWS),
        "\n\n" + json.dumps(ROWS, indent=2),
        json.dumps({"version": "1.0", "data": ROWS}),
        json.dumps({"rows": ROWS}, indent=1),
        json.dumps(COLUMNS),
        json.dumps({name: dict(enumerate(cells)) for name, cells in COLUMNS.items()}, indent=1),
        json.dumps({"columns": list(COLUMNS), "data": [list(row.values()) for row in ROWS]}),
        "".join(json.dumps(row, indent=1) + "\n" for row in ROWS),
        LINES.encode("utf-16"),
    ],
    ids="lines mark blanks list indented data rows columns pandas split objects utf16".split(),  # noqa: SIM905
)
@pytest.mark.parametrize("name", ["data.jsonl", "data.json", "data.ndjson", "data.csv"])
def test_each_form_of_json_is_read(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert rows_of(tmp_path, name, content) == ROWS


def test_json_lines_are_numbered_by_line_and_lists_from_1(tmp_path: Path) -> None:
    assert list(read_rows(written(tmp_path, "a.jsonl", f"\n{LINES}"))) == [2, 3, 4]
    assert list(read_rows(written(tmp_path, "a.json", "\n\n" + json.dumps(ROWS)))) == [1, 2, 3]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"prompt": "p", "chosen": [{"role": "a"}] * 2, "rejected": [{"role": "a"}] * 2},
    ],
)
def test_a_file_of_a_single_row_is_that_row(tmp_path: Path, row: dict[str, object]) -> None:
    assert rows_of(tmp_path, "data.jsonl", json.dumps(row)) == [row]


def test_several_lists_of_rows_are_not_columns(tmp_path: Path) -> None:
    splits = {"train": ROWS, "test": ROWS}
    assert rows_of(tmp_path, "data.json", json.dumps(splits)) == [splits]


GOOD = '{"prompt": "a", "completion": "b"}\n'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": "a \\ud83d", "completion": "b"}', ["'prompt'", r"'\ud83d'", "surrogate"]),
        ('{"messages": [{"content": "\\uDE00"}]}', ["column 'messages', [0].content"]),
        ('{"a\\ud83d": "b"}', ["surrogate"]),
        ('{"a": {"b\\ud83d": "b"}}', [r"column 'a', ['b\ud83d'] holds half"]),
        ("NaN", ["not an object", "got nan"]),
        ('["\\ud83d"]', ["not an object", r"got ['\ud83d']"]),
        (r'{"a": "\\ud83d\ude00"}', ["column 'a'", "surrogate"]),
        (r'{"a": "\ud83d\ud83d\ude00"}', ["column 'a'", "surrogate"]),
        (r'{"a": "\ud83d\ude00\ude00"}', ["column 'a'", "surrogate"]),
        ('{"prompt": NaN}', ["column 'prompt' is nan", "null"]),
        ('{"prompt": "a", "scores": [1, -Infinity]}', ["column 'scores', [1] is -inf"]),
        ('{"prompt": "a", "prompt": "b"}', ["'prompt' stands twice"]),
        ('{"messages": [{"role": "a", "role": "b"}]}', ["column 'messages', [0]", "'role'"]),
        ("{'prompt': 'a', 'completion': None}", ["not JSON", "json.dumps"]),
        ('{"prompt": "a", "completion": "b",}', ["leave out the comma"]),
        ('{"prompt": "a", "completion": ["b",]}', ["leave out the comma"]),
        ('{"prompt": "a"},', ["leave out the comma"]),
        ('{"prompt": "a"} {"prompt": "b"}', ["a line of its own"]),
        ('{"prompt": "a\tb"}', ["not JSON", r"as \t"]),
        (r'{"prompt": "C:\dir"}', ["double each backslash"]),
        ('{"prompt": "a', ["not JSON", "does not end"]),
        ('{"prompt": "a", "completion":', ["not JSON", "cut?"]),
        (f'{{"prompt": {"9" * 5000}}}', ["more digits"]),
        (f'{{"prompt": {"[" * 100_000}1{"]" * 100_000}}}', ["nested too deep"]),
        ("\0\0\0\0", ["NUL"]),
        ("a,b", [".csv"]),
        ("[1]", ["not an object", "got [1]"]),
    ],
)  # fmt: skip
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str, words: list[str]) -> None:
    message = refusal(written(tmp_path, "data.jsonl", f"{GOOD}\n{line}\n{GOOD}{line}\n"))
    assert message.startswith("rows 3, 5: ") and len(message.encode()) < 400
    assert all(word in message for word in words), message


def test_a_first_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, "a.jsonl", f'{{"prompt": \n{GOOD}')).startswith("row 1: not")
    assert refusal(written(tmp_path, "b.jsonl", f"{{'prompt'}}\n{GOOD}")).startswith("row 1: not")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[{]", ["line 1: not JSON"]),
        ('[\n{"a": 1},\n{"a": NaN},\n{"a": 2}]', ["row 2: column 'a' is nan"]),
        ('[\n{"a": "\\ud83d"}, {"a": ""}, {"a": "\\ud83d"}]', ["rows 1, 3: column 'a' holds half"]),
        ('[\n{"a": 1},\n{"a": 2},\n]', ["line 4: not JSON", "leave out the comma"]),
        ('[\n{"a": 1},\n{"a": ', ["line 3: not JSON", "cut?"]),
        ('{\n"a": 1\n},\n{\n"a": 2\n}', ["line 3: not JSON", "brackets"]),
        ('[{"a": 1}, NaN, "\\ud83d"]', ["rows 2, 3: not an object", "got nan"]),
        ('["a", "b"]', ["rows 1, 2: not an object", "got 'a'"]),
    ],
)
def test_a_document_that_is_no_json_is_named_by_line(tmp_path, text, words) -> None:
    message = refusal(written(tmp_path, "data.json", text))
    assert all(word in message for word in words), message


def test_whole_characters_beyond_the_basic_plane_are_text(tmp_path: Path) -> None:
    text = "😀 \\ud83d 한 \ufffd"
    row = json.dumps({"prompt": text})
    assert rows_of(tmp_path, "data.jsonl", row) == [{"prompt": text}]
    assert rows_of(tmp_path, "data.json", f"[{row}]") == [{"prompt": text}]
