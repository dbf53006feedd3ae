"""Supervised fine-tuning: what becomes of rows that are too long, and what is drafted."""

import pytest

from align.methods.sft import METHOD
from align.methods.specification import TRUNCATION, Draft


@pytest.mark.parametrize(
    ("options", "fate"),
    [
        ({}, "left out"),
        ({"truncation_mode": "keep_end"}, "cut"),
        ({"completion_only_loss": False}, "cut"),
        ({"packing": True}, "left out"),
        ({"packing": True, "truncation_mode": "keep_end"}, "left out"),
        ({"packing": True, "packing_strategy": "bfd_split"}, "whole"),
    ],
)
def test_a_prompt_of_the_whole_length_leaves_an_answer_in_some_settings(options, fate) -> None:
    assert METHOD.fate(8, 12, 8, {**TRUNCATION, **options}) == fate


def test_a_draft_measures_accuracy_only_where_answers_can_be_checked() -> None:
    checkable, other = (Draft(("sft",), 64, known) for known in (True, False))
    assert METHOD.draft_objective(checkable).startswith("accuracy")
    assert METHOD.draft_objective(other).startswith("nll")
