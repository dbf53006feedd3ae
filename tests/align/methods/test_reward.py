"""Reward modelling: pairs are whole or left out."""

from align.methods.reward import METHOD
from align.methods.specification import TRUNCATION


def test_a_pair_is_left_out_as_soon_as_either_side_is_too_long() -> None:
    fates = [METHOD.fate(4, longest, 10, TRUNCATION) for longest in (9, 10, 11)]
    assert fates == ["whole", "whole", "left out"]
