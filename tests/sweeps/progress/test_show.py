"""A live table on a terminal, plain lines elsewhere."""

import io
from dataclasses import replace
from threading import Event

from rich.console import Console

import align.progress_lines
from sweeps.events import (
    StageFinished,
    TrialFinished,
)
from sweeps.progress import Progress
from tests.sweeps.progress_events import DONE, EVENTS, STARTED


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


def test_a_terminal_gets_a_live_table_that_stays():
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with Progress(console) as progress:
        for event in EVENTS:
            progress(event)
    assert "best so far: trial 0" in console.file.getvalue()


def test_a_long_silence_is_broken_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(align.progress_lines, "SILENCE", 0.01)
    told = Event()

    class Told(io.StringIO):
        def write(self, text):
            if "trial 0 after step 20 of 40" in text:
                told.set()
            return super().write(text)

    with Progress(Console(file=Told(), width=40)) as progress:
        for event in EVENTS[:4]:
            progress(event)
        assert told.wait(30)


def test_plain_lines_say_what_the_next_trial_is_worth_once_three_are_complete():
    console = Console(file=io.StringIO(), width=40)
    with Progress(console) as progress:
        progress(replace(STARTED, trials=5))
        for number, objective in enumerate((0.3, 0.5, 0.45)):
            progress(TrialFinished("dpo", replace(DONE, number=number, objective=objective)))
    told = [line for line in console.file.getvalue().splitlines() if "expected gain" in line]
    assert len(told) == 1 and told[0].startswith("dpo: next trial: expected gain +0.0")
    assert "; all 2 left: +0." in told[0]
