"""Rows whose values cannot be used are refused by their numbers."""

import pytest

from align.data.splits import load_split
from align.errors import DataError
from tests.align.data.recipes import recipe


def test_labels_as_people_write_them(tmp_path):
    given = [True, False, 1, 0, "true", "False", "1", "0", "TRUE", "false"]
    rows = [{"prompt": f"p{n}", "completion": f"c{n}", "label": one} for n, one in enumerate(given)]
    mine = recipe(tmp_path, rows, "kto", train=6)
    found = [
        row for split in ("train", "validation", "test") for row in load_split(mine, "one", split)
    ]
    labels = {row["completion"][0]["content"]: row["label"] for row in found}
    assert labels == {f"c{n}": n % 2 == 0 for n in range(10)}


@pytest.mark.parametrize("label", ["fine", 2, "", None, [True]])
def test_another_label_is_refused_with_its_row(tmp_path, label):
    rows = [{"prompt": f"p{n}", "completion": "c", "label": n % 2} for n in range(12)]
    rows[4]["label"] = label
    with pytest.raises(DataError, match=r"row 5: column 'label' (must be true or false|is empty)"):
        load_split(recipe(tmp_path, rows, "kto"), "one", "train")


def test_labels_that_are_all_alike_are_refused(tmp_path):
    rows = [{"prompt": f"p{n}", "completion": "c", "label": True} for n in range(12)]
    with pytest.raises(DataError, match="every label is true; kto needs good and bad answers"):
        load_split(recipe(tmp_path, rows, "kto"), "one", "train")


@pytest.mark.parametrize(
    ("columns", "given"),
    [
        (("prompt", "completion"), {"prompt": "p", "completions": "c"}),
        (("prompt", "completion"), {"promt": "p", "completion": "c"}),
        (("instruction", "output"), {"instruction": "p", "ouput": "c"}),
        (("conversations",), {"conversatons": [{"from": "human", "value": "p"}]}),
    ],
)
def test_a_row_that_spells_a_column_otherwise_is_told_its_own(tmp_path, columns, given):
    turns = [{"from": "human", "value": "p"}, {"from": "gpt", "value": "c"}]
    whole = dict.fromkeys(columns, turns if columns == ("conversations",) else "c")
    rows = [{**whole, "note": "x"} for _ in range(12)]
    rows[4] = {**given, "note": "x"}
    (own,) = given.keys() - whole.keys()
    with pytest.raises(DataError) as caught:
        load_split(recipe(tmp_path, rows, "sft"), "one", "train")
    assert "row 5: column '" in str(caught.value)
    assert f"is empty, and the row has '{own}', which complete rows lack; got" in str(caught.value)
