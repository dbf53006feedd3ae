"""What a person sees of a sweep."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from align.stages.evaluation.comparison import Compared
from align.stages.evaluation.statistics import Paired
from sweeps.events import (
    MilestoneReported,
    StageFinished,
    StageStarted,
    TrialFinished,
    TrialStarted,
)
from sweeps.progress import Progress, SweepView, clock_time, line, seconds_left
from sweeps.study.trials import Milestone, TrialSummary

STARTED = StageStarted(
    line="toy/dpo",
    stage="dpo",
    run=2,
    trials=3,
    steps=40,
    objective="accuracy",
    minimised=False,
    concurrent=2,
    budget_seconds=300.0,
    seconds_before=60.0,
)
PARAMS = {"learning_rate": 0.0005, "lora.r": 8, "beta": 0.1}
DONE = TrialSummary(0, "COMPLETE", PARAMS, 0.75, 40, {}, {20: {}, 40: {}}, 40.0)
FAILED = TrialSummary(1, "FAIL", PARAMS, None, 0, reason="TrainingError: loss is NaN")
EVENTS = [
    STARTED,
    TrialStarted("dpo", 0, PARAMS),
    TrialStarted("dpo", 1, PARAMS),
    MilestoneReported("dpo", 0, Milestone(20, 40, 0, {"objective": 0.5, "seconds": 20.0})),
    TrialFinished("dpo", DONE),
    TrialFinished("dpo", FAILED),
]


def text(view):
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(view.render())
    return console.export_text()


def test_the_view_shows_trials_best_time_and_budget():
    now = [100.0]
    view = SweepView(clock=lambda: now[0])
    for event in EVENTS[:4]:
        view.update(event)
    now[0] = 130.0
    shown = text(view)
    assert "toy/dpo  run 2  0/3 trials  1:30 of 5:00" in shown
    # 20 steps took 20 s; 20 + 40 + 40 are open, two trials at a time.
    assert "about 0:50 left" in shown
    assert "20/40" in shown and "0.0005" in shown and "rank" in shown and "beta" in shown
    assert "no trial is complete yet" in shown
    for event in EVENTS[4:]:
        view.update(event)
    shown = text(view)
    assert "COMPLETE" in shown and "FAIL" in shown
    assert "best so far: trial 0, accuracy 0.75" in shown
    view.update(StageFinished("toy/dpo", "dpo", "toy/dpo:1", DONE, (DONE, FAILED), 95.0, 300.0))
    assert "best, now toy/dpo:1: trial 0, accuracy 0.75; which is the default" in text(view)
    assert "1:35 of 5:00" in text(view) and "left" not in text(view)


def test_nothing_is_estimated_before_something_is_measured():
    assert seconds_left(STARTED, []) is None
    assert SweepView().left is None


def test_a_repeated_measurement_is_counted_once():
    view = SweepView(clock=lambda: 0.0)
    for event in [*EVENTS[:4], EVENTS[3]]:
        view.update(event)
    assert view.left == 50.0


def test_plain_lines_where_there_is_no_terminal():
    console = Console(file=io.StringIO(), width=40)
    with Progress(console) as progress:
        for event in EVENTS:
            progress(event)
        progress(StageFinished("toy/dpo", "dpo", "toy/dpo:1", DONE, (DONE,), 95.0, reused=True))
    lines = console.file.getvalue().splitlines()
    assert lines == [
        "toy/dpo run 2: 3 trials of 40 steps, 2 at a time",
        "dpo trial 0: lr 0.0005, rank 8, beta 0.1",
        "dpo trial 1: lr 0.0005, rank 8, beta 0.1",
        "dpo trial 0: step 20/40, objective 0.5, 20.0 s",
        "dpo trial 0: COMPLETE",
        "dpo trial 1: FAIL: TrainingError: loss is NaN",
        "toy/dpo:1: trial 0, objective 0.75, which is the default, 95 s (searched before; --fresh "
        "searches anew)",
    ]


def test_the_best_is_shown_against_the_default():
    best = TrialSummary(2, "COMPLETE", PARAMS, 0.8, 40)
    gain = Compared("accuracy", 0.8, 0.75, Paired(0.05, -0.02, 0.12, 64))
    finished = StageFinished("toy/dpo", "dpo", "toy/dpo:1", best, (DONE, best), 95.0, gain=gain)
    beside = "default 0.75, difference +0.05 (-0.02 to +0.12): not clearly different"
    assert beside in line(finished)
    view = SweepView(clock=lambda: 0.0)
    view.update(STARTED)
    view.update(finished)
    assert beside in " ".join(text(view).split())
    unknown = replace(finished, trials=(replace(DONE, state="FAIL"), best), gain=None)
    assert "the default did not complete" in line(unknown)


def test_a_terminal_gets_a_live_table_that_stays():
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with Progress(console) as progress:
        for event in EVENTS:
            progress(event)
    assert "best so far: trial 0" in console.file.getvalue()


@pytest.mark.parametrize(("seconds", "shown"), [(5, "0:05"), (75.4, "1:15"), (3723, "1:02:03")])
def test_clock_time(seconds, shown):
    assert clock_time(seconds) == shown
