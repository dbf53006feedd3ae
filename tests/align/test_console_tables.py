"""Tables of the commands, in a pipe and in a terminal."""

import io

from rich.console import Console

from align.console_tables import print_parts, print_table, table_of


def test_in_a_pipe_each_row_is_one_line_without_blanks_at_its_end(capsys):
    print_table(("name", "reason"), [("a", "long " * 60 + "end"), ("b", "")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[1].endswith("long end")
    assert lines[2] == "b" and lines[0].split() == ["name", "reason"]


def test_text_is_no_markup(capsys):
    print_table(("name", "reason"), [("a", "[Errno 2] no file [/red]")])
    assert "[Errno 2] no file [/red]" in capsys.readouterr().out
    print_parts(table_of(("[/red]",), [("a",)]), "no file [/red]")
    assert capsys.readouterr().out == "[/red]\na\nno file [/red]\n"


def test_a_terminal_wraps_what_is_too_long_and_cuts_nothing():
    file, name = io.StringIO(), "a-name-without-blanks" * 6
    Console(file=file, width=40).print(table_of(("name", "reason"), [(name, "why " * 30)]))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 40 and "…" not in file.getvalue()
    text = "".join(file.getvalue().split())
    assert text.count("why") == 30
    assert len([letter for letter in text if letter == "-"]) == name.count("-")


def test_short_columns_stay_whole_where_there_is_room(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    file = io.StringIO()
    rows = [("2026-11-30 10:02:22", "promote", "why " * 30)]
    Console(file=file, width=60).print(table_of(("when", "action", "reason"), rows))
    lines = file.getvalue().splitlines()
    assert lines[1].startswith("2026-11-30 10:02:22  promote  why") and len(lines) > 3


def test_parts_are_below_each_other(capsys):
    print_parts(table_of(("a",), [("b",)]), "", "heading")
    assert capsys.readouterr().out == "a\nb\n\nheading\n"


def test_a_table_without_titles_has_no_header(capsys):
    print_table(("", ""), [("a", "b")])
    assert capsys.readouterr().out.split() == ["a", "b"]
