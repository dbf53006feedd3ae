"""Results as people read them."""

import math

import pytest

from align.adapters.manifest import PairedDifference
from align.evaluation.result_text import (
    difference_text,
    estimate_text,
    evidence_text,
    figure_text,
    interval_text,
    stored_difference_text,
)
from align.evaluation.statistics import Paired, paired

NAN = math.nan


def test_shares_are_percentages_and_other_measures_numbers() -> None:
    assert estimate_text("accuracy", 0.5, 0.32, 0.68) == "50.0 % (32.0 to 68.0)"
    assert estimate_text("nll", 1.2345, 1.1, 1.3) == "1.234 (1.1 to 1.3)"
    assert figure_text("pair_accuracy/style", 0.25) == "25.0 %"
    assert interval_text("win_rate", 0.0, 0.19361) == "0.0 to 19.4 %"


@pytest.mark.parametrize("value", [None, NAN])
def test_what_was_not_measured_is_a_dash(value: float | None) -> None:
    assert figure_text("accuracy", value) == "–"
    assert interval_text("accuracy", value, value) == ""
    assert estimate_text("nll", 0.5, value, value) == "0.5"


def test_a_difference_says_why_it_has_no_interval() -> None:
    assert (
        difference_text("accuracy", Paired(0.25, 0.1, 0.375, 8)) == "+25.0 (+10.0 to +37.5) points"
    )
    assert difference_text("nll", Paired(-0.5, NAN, NAN, 9)) == "-0.5 (no spread in 9 items)"
    assert difference_text("nll", Paired(-0.5, NAN, NAN, 1)) == "-0.5 (1 item)"
    assert difference_text("nll", paired([NAN, 1.0], [1.0, NAN])) == "not measured"


def test_evidence_names_what_moved() -> None:
    ours, theirs = [1.0] * 8 + [0.0] * 56, [0.0] * 8 + [1.0] * 5 + [0.0] * 51
    assert evidence_text("accuracy", paired(ours, theirs, share=True)) == (
        "not shown to differ: 8 of 64 items higher, 5 lower, p = 0.58"
    )
    assert evidence_text("accuracy", paired(ours, [0.0] * 64, share=True)) == (
        "better: 8 of 64 items higher, 0 lower, p = 0.0078"
    )
    assert evidence_text("nll", Paired(-0.5, -0.7, -0.3, 40)) == "better on 40 items"


def test_a_manifests_difference_is_read_alike() -> None:
    stored = PairedDifference(difference=0.25, low=0.1, high=0.375, items=8)
    assert stored_difference_text("accuracy", stored) == "+25.0 (+10.0 to +37.5) points"
    nothing = PairedDifference(difference=0.0, low=None, high=None, items=8)
    assert stored_difference_text("length", nothing) == "none in 8 items"
    assert stored_difference_text("length", None) == "–"
