"""What a person sees of the open stages, by the events that came."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sweeps.events import (
    FinalistMeasured,
    MilestoneReported,
    PoolChanged,
    SearchStopped,
    StageFinished,
    TrialFinished,
    TrialRetried,
    TrialStarted,
    WorkerWarned,
)
from sweeps.progress import SweepView
from sweeps.trials import Milestone, TrialSummary
from sweeps.worth.stop_rule import EarlyStop
from tests.sweeps.progress_events import DONE, EVENTS, FAILED, PARAMS, STARTED, search, text


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
    shown = text(view, finished="dpo")
    assert "best, now toy/dpo:1: trial 0, accuracy 0.75; which is the default" in shown
    assert "1:35 of 5:00" in shown and "left" not in shown
    assert not text(view).strip()  # nothing is open any more


def test_a_repeated_measurement_is_counted_once():
    view = SweepView(clock=lambda: 0.0)
    for event in [*EVENTS[:4], EVENTS[3]]:
        view.update(event)
    assert view.left == 50.0


def test_many_trials_fit_a_small_terminal():
    view = SweepView(clock=lambda: 0.0)
    search(view)
    shown = text(view, width=80, height=24)
    lines = shown.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    rows = {one.split()[0]: one for one in lines if "/40" in one and "toy" not in one}
    assert [rows[str(number)].split()[1] for number in range(58, 64)] == ["RUNNING"] * 6
    # The best that keeps to the constraints, not the best of all.
    assert "56*" in rows and "best so far: trial 56, accuracy 0.58" in shown
    assert "not shown: 24 COMPLETE, 24 PRUNED" in shown
    for title in ("accuracy", "step", "lr", "rank", "beta"):
        assert title in shown
    assert "seconds" not in shown  # what matters least is left out
    assert "seconds" in text(view, width=200, height=24)


def test_a_broken_constraint_is_seen():
    view = SweepView(clock=lambda: 0.0)
    search(view, trials=6, running=0)
    shown = text(view)
    assert "violation" in shown and "+0.2" in shown


def test_siblings_are_shown_at_once_with_the_pool_and_what_comes_after():
    view = SweepView({"sft": 80, "dpo": 2560, "reward": 2560, "grpo": 2560}, clock=lambda: 0.0)
    view.update(PoolChanged(4, 8))
    first = replace(STARTED, line="toy/sft", stage="sft", trials=2)
    view.update(first)
    view.update(StageFinished("toy/sft", "sft", "toy/sft:1", DONE, (DONE,), 40.0))
    for stage in ("reward", "dpo"):
        search(view, stage)
    shown = text(view, width=80, height=40)
    assert len(shown.splitlines()) <= 40
    assert "toy/reward" in shown and "toy/dpo" in shown and "toy/sft" not in shown
    assert "pool: 4 nodes, room for 8 trials at once, 12 running" in shown
    # 6 trials of each are open, 240 steps at 1160 s for 1760 steps; grpo's 2560 at the mean pace.
    assert "left in all, with grpo" in shown
    assert view.left == pytest.approx((2 * 240 * 1160 / 1760 + 2560 * 2360 / 3560) / 8)
    tiny = text(view, width=80, height=10)
    assert len(tiny.splitlines()) <= 10 and "toy/reward" in tiny and "toy/dpo" in tiny


def test_what_it_is_held_against_stands_above_the_trials():
    view = SweepView(clock=lambda: 0.0)
    view.update(STARTED)
    view.update(TrialStarted("dpo", 0, PARAMS))
    metrics = {"objective": 0.5, "seconds": 9.0, "parent_accuracy": 0.4, "base_accuracy": 0.1}
    view.update(MilestoneReported("dpo", 0, Milestone(40, 40, 1, metrics)))
    done = TrialSummary(0, "COMPLETE", PARAMS, 0.5, 40, metrics, {40: metrics}, 9.0)
    view.update(TrialFinished("dpo", done))
    view.update(TrialStarted("dpo", 1, PARAMS))
    milestone = Milestone(40, 40, 1, {"objective": 0.6, "seconds": 9.0})
    view.update(MilestoneReported("dpo", 1, milestone))
    shown = text(view)
    assert "default 0.5, parent 0.4, base 0.1" in shown
    assert "to default" in shown and "+0.1" in shown


def test_trials_of_an_earlier_attempt_wait_until_a_worker_has_them():
    view = SweepView(clock=lambda: 0.0)
    begun = TrialSummary(1, "RUNNING", PARAMS, 0.5, 20, {}, {20: {}}, 20.0)
    view.update(replace(STARTED, earlier=(DONE, begun)))
    assert "WAITING" in text(view) and "pool: 0 running" in text(view)
    view.update(TrialStarted("dpo", 1, PARAMS, 20))
    assert "RUNNING" in text(view) and "pool: 1 running" in text(view)
    view.update(TrialRetried("dpo", 1, "the node left"))
    assert "WAITING" in text(view) and "20/40" in text(view)


def test_finalists_are_measured_after_all_trials_or_after_a_stop():
    view = SweepView(clock=lambda: 0.0)
    for event in EVENTS[:5]:
        view.update(event)
    assert "measuring finalists" not in text(view)
    view.update(FinalistMeasured("dpo", 0, 0.7, "default", 5))
    view.update(FinalistMeasured("dpo", None, float("nan"), "parent", 5))
    shown = text(view)
    assert "measuring finalists, 2/5, on unseen items: default 0.7, parent –" in shown
    assert "RUNNING" not in shown and "left" not in shown


def test_warnings_of_workers_are_shown():
    view = SweepView(clock=lambda: 0.0)
    view.update(STARTED)
    view.update(WorkerWarned("dpo", 1, "a step was skipped"))
    assert "trial 1 warned: a step was skipped" in text(view)


def test_siblings_and_their_result_fit_80_columns():
    file = io.StringIO()
    console = Console(file=file, width=80, height=30)
    view = SweepView(clock=lambda: 0.0)
    for stage in ("reward", "dpo"):
        search(view, stage)
    notes = ("warmed up with 12 trials of the study toy/dpo:1, " * 3,)
    view.update(replace(STARTED, line="toy/kto", stage="kto", notes=notes))
    console.print(view)
    lines = file.getvalue().splitlines()
    assert len(lines) < 30 and max(map(len, lines)) <= 80
    assert all(any(f"toy/{stage}" in one for one in lines) for stage in ("reward", "dpo", "kto"))


def test_the_worth_of_the_next_trial_is_shown_until_the_search_stops():
    view = SweepView()
    view.update(replace(STARTED, trials=8, usd_per_hour=0.9, items=64))
    for number, objective in enumerate((0.3, 0.5, 0.45, 0.2)):
        done = replace(DONE, number=number, objective=objective)
        assert "next trial" not in text(view)
        view.update(TrialStarted("dpo", number, PARAMS))
        view.update(TrialFinished("dpo", done))
        if number == 2:
            break
    shown = " ".join(text(view).split())
    assert "next trial: expected gain +0.0" in shown and "for 40 s, 0.01 USD; all 5 left" in shown
    assert "about 1:40 left" in shown
    view.update(SearchStopped("dpo", EarlyStop(0.004, 0.01, 3, 8)))
    shown = text(view)
    assert "next trial" not in shown and "3/3 trials" in shown and "left" not in shown
    assert "stopped by stop_when: expected gain 0.004 < 0.01 after 3 of 8 trials" in shown


def test_the_state_in_a_line_says_what_runs_and_what_is_left():
    now = [100.0]
    view = SweepView({"grpo": 80}, clock=lambda: now[0])
    now[0] = 140.0
    assert view.state() == "preparing, 0:40 so far"
    for event in EVENTS[:4]:
        view.update(event)
    assert view.state() == (
        "dpo: 0 of 3 trials ended, trial 0 after step 20 of 40, trial 1 begun; "
        "about 1:30 left in all"
    )
    for number in range(3):
        view.update(TrialFinished("dpo", replace(DONE, number=number)))
    assert view.state() == (
        "dpo: measuring finalists, 0 done, on unseen items; about 0:40 left in all"
    )
    view.update(StageFinished("toy/dpo", "dpo", "toy/dpo:1", DONE, (DONE,), 95.0))
    assert view.state() == ""
