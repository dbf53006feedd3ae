"""What a person sees of a sweep."""

from dataclasses import replace

from align.evaluation.comparison import Compared
from align.evaluation.statistics import Paired
from sweeps.events import FinalistMeasured, PoolChanged, StageFinished, TrialRetried
from sweeps.finalists import Entry, Standing
from sweeps.progress import SweepView, line, seconds_left
from sweeps.trials import TrialSummary
from tests.sweeps.progress_events import DONE, EVENTS, PARAMS, STARTED, text


def test_nothing_is_estimated_before_something_is_measured():
    assert seconds_left(STARTED, []) is None
    view = SweepView()
    assert view.left is None
    view.update(STARTED)
    assert view.left is None


def test_the_best_is_shown_against_the_default():
    best = TrialSummary(2, "COMPLETE", PARAMS, 0.8, 40)
    gain = Compared("accuracy", 0.8, 0.75, Paired(0.05, -0.02, 0.12, 64))
    finished = StageFinished("toy/dpo", "dpo", "toy/dpo:1", best, (DONE, best), 95.0, gain=gain)
    beside = "default 0.75, difference +5.0 (-2.0 to +12.0) points: not shown to differ on 64 items"
    assert beside in line(finished)
    view = SweepView(clock=lambda: 0.0)
    view.update(STARTED)
    view.update(finished)
    assert beside in " ".join(text(view, finished="dpo").split())
    unknown = replace(finished, trials=(replace(DONE, state="FAIL"), best), gain=None)
    assert "the default did not complete" in line(unknown)


def test_a_trial_that_changed_workers_and_finalists_are_told():
    view = SweepView(clock=lambda: 0.0)
    for event in EVENTS:
        view.update(event)
    retried = TrialRetried("dpo", 1, "the worker process died")
    view.update(retried)
    measured = FinalistMeasured("dpo", 0, 0.7, "default")
    view.update(measured)
    shown = text(view)
    assert "went on once after a worker ended" in shown
    assert "on unseen items: default 0.7" in shown
    assert line(retried).endswith("another goes on: the worker process died")
    assert line(measured) == "dpo default on unseen items: objective 0.7"
    assert line(PoolChanged(1, 2)) == "pool: 1 node, room for 2 trials at once"


def test_the_last_word_is_of_unseen_items():
    gain = Paired(0.05, 0.01, 0.09, 200)
    chosen = Entry("trial 2", 2, 0.61, 0.55, 0.67, {}, True, gain, None)
    standing = Standing("test", 200, "accuracy", False, 2, 5, (chosen,))
    best = TrialSummary(2, "COMPLETE", PARAMS, 0.8, 40)
    finished = StageFinished(
        "toy/dpo", "dpo", "toy/dpo:1", best, (DONE, best), 95.0, unseen=standing
    )
    told = (
        "on 200 unseen items accuracy 61.0 % (55.0 to 67.0), to the default "
        "+5.0 (+1.0 to +9.0) points"
    )
    assert f"{told}; trial 5 was best in the search" in line(finished)
    view = SweepView(clock=lambda: 0.0)
    view.update(STARTED)
    view.update(finished)
    assert told in " ".join(text(view, finished="dpo").split())
