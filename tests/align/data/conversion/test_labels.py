"""Labels as people write them."""

import pytest

from align.data.conversion.labels import as_label, label_column

GOOD = [
    True,
    1,
    1.0,
    "1",
    "+1",
    "Yes",
    "good",
    " UP ",
    "thumbs_up",
    "Desirable",
    "\U0001f44d\U0001f3fd",
]
BAD = [False, 0, -1, "-1", "no", "bad", "thumbs down", "undesirable", "dislike", "\U0001f44e\ufe0f"]


@pytest.mark.parametrize(("values", "means"), [(GOOD, True), (BAD, False)])
def test_what_means_a_label(values: list[object], means: bool) -> None:
    assert [as_label(value) for value in values] == [means] * len(values)


@pytest.mark.parametrize("value", [None, "", "meh", 2, "5", [True], {}])
def test_what_means_none(value: object) -> None:
    assert as_label(value) is None


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("label", ["art", "music"], ""),
        ("thumbs", ["up", "sideways"], "thumbs"),
        ("rating", [1, 2, 3, 4, 5], ""),
        ("rating", [1, 1, 1, 5], ""),
        ("rating", ["up", "down", "up", "sideways"], "rating"),
        ("thumbs_up", [0, 3, 12, 1], ""),
        ("rating", [0, 1, 1, 10**400], ""),
        ("thumbs_up", [0, 1, 1, 0], "thumbs_up"),
        ("feedback", ["It was fine.", "Too long.", "good"], ""),
        ("feedback", [None, None], ""),
        ("note", [True, False], ""),
    ],
)
def test_a_scale_and_remarks_are_no_labels(column: str, values: list[object], found: str) -> None:
    rows = {number: {column: value} for number, value in enumerate(values, 1)}
    assert label_column(rows, {column}) == found


def test_the_label_of_a_prompts_completion_is_always_one() -> None:
    rows = {1: {"prompt": "p", "completion": "c", "label": "art"}}
    assert label_column(rows, set(rows[1])) == "label"
