"""A task of reasoning_gym scores its answers by the row's entry."""

import sys
from types import SimpleNamespace

import pytest

from align.errors import DataError
from tests.align.rewards.scoring import parts, value


def test_reasoning_gym_scores_by_the_rows_entry(monkeypatch):
    module = SimpleNamespace(score=lambda text, entry: 0.5 * (text == entry["answer"]))
    monkeypatch.setitem(sys.modules, "align.reasoning_tasks", module)
    assert value({"reasoning_gym": 1}, "7", entry={"answer": "7"}) == 0.5
    with pytest.raises(DataError, match="'reasoning_gym' needs the column entry"):
        parts({"reasoning_gym": 1}, ["7"], {"answer": ["7"]})
