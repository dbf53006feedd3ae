"""Figures and events of a sweep as text."""

from dataclasses import replace

import pytest

from sweeps.events import (
    MilestoneReported,
    PoolChanged,
    TrialFinished,
    TrialPaused,
    WorkerWarned,
)
from sweeps.progress.formatting import (
    line,
    lines,
    objective_text,
    pool_text,
    value_text,
)
from sweeps.trials import Milestone
from tests.sweeps.progress_events import FAILED, STARTED


def test_each_note_of_a_stage_is_a_line():
    first, *notes = lines(replace(STARTED, notes=("warm start:\n8 trials", "2 rows are cut")))
    assert first == line(STARTED)
    assert notes == ["dpo: warm start: 8 trials", "dpo: 2 rows are cut"]


def test_a_warning_is_told_with_its_trial():
    assert line(WorkerWarned("dpo", 2, "3 steps\nwere skipped")) == (
        "dpo trial 2 warned: 3 steps were skipped"
    )
    assert line(WorkerWarned("dpo", None, "slow")) == "dpo a worker warned: slow"


def test_an_event_is_one_line_whatever_a_worker_said():
    failed = replace(FAILED, reason="OSError: first\nsecond")
    assert line(TrialFinished("dpo", failed)) == "dpo trial 1: FAIL: OSError: first second"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (0.00012345, "0.000123"), (2e-5, "2e-05"), (16, "16"), ("cosine", "cosine")],
)
def test_a_parameter_is_a_few_characters(value, shown):
    assert value_text(value) == shown


def test_what_was_not_measured_is_a_dash():
    assert (objective_text(None), objective_text(float("nan"))) == ("–", "–")
    assert objective_text(0.123456) == "0.1235"


def test_one_machine_and_one_place_are_no_plural():
    assert pool_text(PoolChanged(1, 1)) == "1 node, room for 1 trial at once"
    assert pool_text(PoolChanged(2, 8)) == "2 nodes, room for 8 trials at once"


def test_a_rung_is_told_by_its_metric_and_the_end_by_the_objective():
    rung = Milestone(5, 30, 0, {"rung": 0.41234, "nll": 0.41234, "seconds": 2.0})
    event = MilestoneReported("sft", 3, rung, "nll")
    assert line(event) == "sft trial 3: step 5/30, nll 0.4123, 2.0 s"
    end = MilestoneReported("sft", 3, Milestone(30, 30, 1, {"objective": 0.5, "rung": 0.3}), "nll")
    assert line(end) == "sft trial 3: step 30/30, objective 0.5, 0.0 s"
    assert line(TrialPaused("sft", 3)) == "sft trial 3: waits for the others at its rung"
