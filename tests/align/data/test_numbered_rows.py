"""Rows carry the number that they have in the user's file, and are otherwise what they were."""

import copy
import json
import pickle

from align.data.numbered_rows import NumberedRow, number_of
from align.data.splits import fingerprint, load_split
from tests.align.data.recipes import recipe

ROW = {"prompt": "p", "completion": "c"}


def test_a_number_is_no_part_of_the_content():
    row = NumberedRow(ROW, 7)
    assert row == ROW and json.dumps(row) == json.dumps(ROW)
    assert fingerprint([row]) == fingerprint([ROW])
    assert (number_of(row), number_of(ROW)) == (7, None)


def test_copies_keep_the_number():
    row = NumberedRow(ROW, 7)
    for twin in (copy.deepcopy(row), pickle.loads(pickle.dumps(row))):
        assert twin == row and number_of(twin) == 7


def test_rows_of_a_split_have_their_lines(tmp_path):
    rows = [{"prompt": f"p{n}", "chosen": "a", "rejected": "b"} for n in range(1, 13)]
    for method in ("dpo", "kto"):
        for row in load_split(recipe(tmp_path, rows, method), "one", "train"):
            assert row["prompt"][0]["content"] == f"p{number_of(row)}"
