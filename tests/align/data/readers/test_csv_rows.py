"""CSV as spreadsheets, databases and pandas write it."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import lists, sampled_from, text, tuples

from align.data.user_rows import read_rows
from tests.align.data.written import refusal, rows_of, written

EXPECTED = [
    {"prompt": "2 + 3, please?", "completion": 'It is "5".'},
    {"prompt": "4 + 4?\nThink.", "completion": "8"},
]


def table(delimiter: str = ",", quote: str = '"', end: str = "\r\n") -> str:
    """The expected rows in a dialect of CSV."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quotechar=quote)
    writer.writerows([EXPECTED[0].keys(), *(row.values() for row in EXPECTED)])
    return text.getvalue().replace("\r\n", end)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_by_which_records_agree(tmp_path, delimiter, end) -> None:
    assert rows_of(tmp_path, "data.csv", table(delimiter, end=end)) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.csv", "\ufeff" + table()),
        ("tabs.tsv", table("\t")),
        ("commas.tsv", table()),
        ("declared.csv", "sep=;\r\n" + table(";")),
        ("declared_quoted.csv", '"sep=|"\n' + table("|")),
        ("utf16.csv", table("\t").encode("utf-16")),
        ("utf16_without_mark.csv", table().encode("utf-16-le")),
        ("utf32.csv", table().encode("utf-32")),
        ("index.csv", ",prompt,completion\n" + table().split("\r\n", 1)[1].replace(
            '"2 +', '0,"2 +').replace('"4 +', '1,"4 +')),
        ("trailing.csv", table().replace("completion\r\n", "completion,,\r\n")
            .replace('"".\"\r\n', '"".",,\r\n').replace("8\r\n", "8,,\r\n")),
        ("blank.csv", "\n" + table() + "\r\n,\r\n , \r\n\n"),
        ("blanks_in_header.csv", " prompt , completion \n" + table().split("\r\n", 1)[1]),
        ("blanks_before_quotes.csv", table().replace('","', '", "').replace(",8", ', "8"')),
        ("single.csv", "'prompt','completion'\n" + table(quote="'").split("\r\n", 1)[1]),
    ],
)  # fmt: skip
def test_a_dialect_is_read_as_it_is_meant(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert rows_of(tmp_path, name, content) == EXPECTED


def test_values_remain_as_they_stand_where_the_header_has_no_blanks(tmp_path: Path) -> None:
    content = 'prompt,completion\nWhy?, because\n007,1.50\nSay, "hi" to me\nQ,NaN\n'
    assert [row["completion"] for row in rows_of(tmp_path, "data.csv", content)] == [
        " because",
        "1.50",
        ' "hi" to me',
        "NaN",
    ]


def test_rows_are_numbered_by_their_records(tmp_path: Path) -> None:
    content = 'prompt,completion\n"a\nb",c\n\n,\nd,e\n'
    rows = read_rows(written(tmp_path, "data.csv", content))
    assert {number: row["prompt"] for number, row in rows.items()} == {1: "a\nb", 4: "d"}


def test_a_field_may_be_longer_than_python_allows_by_default(tmp_path: Path) -> None:
    limit, long = csv.field_size_limit(), "x" * 200_000
    assert rows_of(tmp_path, "data.csv", f"prompt,completion\n{long},b\n")[0]["prompt"] == long
    assert csv.field_size_limit() == limit


def test_a_dialect_is_chosen_by_many_records_of_which_the_sample_ends_within_quotes(tmp_path):
    record = '"a\n;b", "c;d"\n'
    rows = rows_of(tmp_path, "data.csv", "prompt,completion\n" + record * 300)
    assert rows == [{"prompt": "a\n;b", "completion": "c;d"}] * 300


def test_a_file_of_a_single_column(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "data.csv", "text\nfirst\nsecond\n") == [
        {"text": "first"},
        {"text": "second"},
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            'prompt,completion\n"a\nb",c\nd,e,f\ng\n',
            ["rows 2, 3: not as many fields", "row 2 (line 4) has 3", "'f'", "the header 2", "','"],
        ),
        ("prompt,completion\na,b\nc\n", ["row 2 (line 3) has 1", "complete it"]),
        (
            'prompt,completion\na,b\nc,"d\ne,f\n',
            ["opens in line 3, column 3", "never closed", "close it"],
        ),
        (
            'prompt;completion\na;"b\nc;"d"\n',
            ["opens in line 2, column 3", "closed in line 3, column 3", "double quotes"],
        ),
        ('prompt,completion\na,"say \\"hi\\""\n', ["line 2, column 3", "a backslash"]),
        ("prompt,completion,prompt\na,b,c\n", ["names 'prompt' more than once", "rename"]),
        ("prompt,completion,\na,b,c\n", ["column 3 has no name", "'c'", "name it"]),
        (",prompt,completion\nx,a,b\n", ["column 1 has no name", "'x'"]),
        ("What is 2?,It is 2.\nWhat is 3?,It is 3.\n", ["first line looks like a row", "header"]),
        ("1,What is 3?\n2,What is 4?\n", ["first line looks like a row"]),
        ("prompt,completion\na,b\nc\0,d\n", ["line 3", "NUL"]),
    ],
    ids="ragged short unclosed inner backslash repeated nameless index header numbers nul".split(),  # noqa: SIM905
)
def test_a_broken_file_is_refused_with_the_place(tmp_path, content, words) -> None:
    message = refusal(written(tmp_path, "data.csv", content))
    assert all(word in message for word in words), message


WORDS = text("ab,;|\t\"'\n é.0", min_size=1, max_size=8).filter(str.strip)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    records=lists(tuples(WORDS, WORDS), min_size=1, max_size=5),
    delimiter=sampled_from(",;\t|"),
    quoting=sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_whatever_text_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, records, delimiter: str, quoting: int
) -> None:
    content = io.StringIO()
    writer = csv.writer(content, delimiter=delimiter, quoting=quoting)
    writer.writerows([("prompt", "completion"), *records])
    folder = tmp_path_factory.mktemp("written")
    rows = rows_of(folder, "data.csv", content.getvalue())
    assert [tuple(row.values()) for row in rows] == records


def test_a_header_of_questions_beside_names_is_a_header(tmp_path: Path) -> None:
    content = "timestamp,How do you feel today?\n1,fine\n"
    assert rows_of(tmp_path, "data.csv", content) == [
        {"timestamp": "1", "How do you feel today?": "fine"}
    ]
