"""Figures and events of a sweep as text."""

from dataclasses import replace

import pytest

from sweeps.events import (
    TrialFinished,
)
from sweeps.progress import clock_time, line
from tests.sweeps.progress_events import FAILED, STARTED


@pytest.mark.parametrize(("seconds", "shown"), [(5, "0:05"), (75.4, "1:15"), (3723, "1:02:03")])
def test_clock_time(seconds, shown):
    assert clock_time(seconds) == shown


def test_notes_of_a_stage_are_told():
    assert line(replace(STARTED, notes=("warm start: 8 trials",))).endswith(
        "; warm start: 8 trials"
    )


def test_an_event_is_one_line_whatever_a_worker_said():
    failed = replace(FAILED, reason="OSError: first\nsecond")
    assert line(TrialFinished("dpo", failed)) == "dpo trial 1: FAIL: OSError: first second"
