"""Neighbouring groups of tokens share a LoRA product while that is cheap."""

import pytest

from align.inference.scheduling.lora_blocks import merged

RANKS = [8, 8, 64, 8]


@pytest.mark.parametrize(
    ("groups", "needless", "wanted"),
    [
        ([], 100, []),
        ([(0, 5, 1)], 0, [(0, 5, {1})]),
        ([(0, 5, 0), (5, 9, 1)], 71, [(0, 5, {0}), (5, 9, {1})]),  # 9 * 16 against 5 * 8 + 4 * 8
        ([(0, 5, 0), (5, 9, 1)], 72, [(0, 9, {0, 1})]),
        ([(0, 5, 0), (5, 9, 2), (9, 12, 3)], 72, [(0, 5, {0}), (5, 9, {2}), (9, 12, {3})]),
        ([(0, 5, 0), (7, 9, 0)], 15, [(0, 5, {0}), (7, 9, {0})]),  # two tokens in between
        ([(0, 5, 0), (7, 9, 0)], 16, [(0, 9, {0})]),
    ],
)
def test_groups_are_merged_while_that_is_cheap(groups, needless, wanted):
    assert merged(groups, RANKS.__getitem__, needless) == wanted
