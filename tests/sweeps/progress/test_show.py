"""A live table on a terminal, plain lines elsewhere."""

import io

from rich.console import Console

from sweeps.events import (
    StageFinished,
)
from sweeps.progress import Progress
from tests.sweeps.progress_events import DONE, EVENTS


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
