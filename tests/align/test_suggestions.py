"""Suggestions for names that do not exist."""

from __future__ import annotations

from align.suggestions import did_you_mean


def test_a_suggestion_is_spelled_as_it_is_known() -> None:
    known = ["TPESampler", "tpe", "GPSampler"]
    assert did_you_mean("tpesampler", known, ignore_case=True, after=" ") == (
        "did you mean 'TPESampler'? "
    )
    assert did_you_mean("xyz", known, ignore_case=True) == ""
