"""The forms of adapters' names, and how long each part may be."""

import pytest

from cluster.errors import RegistryError
from cluster.names import Name, check_alias, check_line, parse_name

LINE = "arithmetic/sft"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{LINE}:1", Name(LINE, number=1)),
        (f"{LINE}:999999999", Name(LINE, number=999_999_999)),
        (f"{LINE}@best", Name(LINE, alias="best")),
        (LINE, Name(LINE, alias="champion")),
        ("A.1-b_c/2.d-e_f@g.1-h_i", Name("A.1-b_c/2.d-e_f", alias="g.1-h_i")),
    ],
)
def test_a_name_is_a_line_with_a_number_an_alias_or_the_champion(text, name):
    assert parse_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "", "sft", "a/b/c", "/sft", "arithmetic/", f"{LINE}:", f"{LINE}:0", f"{LINE}:01",
        f"{LINE}:-1", f"{LINE}:1000000000", f"{LINE}:x", f"{LINE}@", f"{LINE}@1", f"{LINE}@a/b",
        f"{LINE}:1\n", f"{LINE}@best\n", f"{LINE}\n", f"{LINE}@a:1",
        f"{LINE}:1@a", f" {LINE}", f"{LINE} ", ".a/b", "a/-b", "ä/b",
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused_with_the_forms(text):
    with pytest.raises(RegistryError, match="is no adapter name; expected <recipe>/<stage>:<num"):
        parse_name(text)


def test_lines_and_aliases_have_a_longest():
    line, alias = "a/" + "b" * 126, "c" * 64
    assert (check_line(line), check_alias(alias)) == (line, alias)
    with pytest.raises(RegistryError, match="at most 128 characters"):
        check_line(line + "b")
    with pytest.raises(RegistryError, match="at most 64 characters"):
        check_alias(alias + "c")
    with pytest.raises(RegistryError):
        check_line(f"{LINE}\n")
    for wrong in ("1a", "-a", "", "a b", "a/b", "a\n"):
        with pytest.raises(RegistryError):
            check_alias(wrong)
