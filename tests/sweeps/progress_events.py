"""Events of a stage, and what a view of them shows."""

import io
from dataclasses import replace

from rich.console import Console

from sweeps.events import (
    MilestoneReported,
    StageStarted,
    TrialFinished,
    TrialStarted,
)
from sweeps.trials import Milestone, TrialSummary

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


def text(view, width=120, height=40, finished=None):
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(view.render_finished(finished, width) if finished else view.render(width, height))
    return console.export_text()


def search(view, stage="dpo", trials=64, steps=40, running=6):
    """A stage of many trials: some complete, most pruned, a few running."""
    view.update(replace(STARTED, line=f"toy/{stage}", stage=stage, trials=trials, concurrent=4))
    for number in range(trials):
        params = PARAMS | {"lora.lora_dropout": 0.05, "lr_scheduler_type": "cosine"}
        view.update(TrialStarted(stage, number, params))
        metrics = {
            "objective": 0.3 + number / 200,
            "seconds": 10.0,
            "violation": 0.2 * (number % 2),
        }
        if number < trials - running:
            state = "COMPLETE" if number % 4 < 2 else "PRUNED"
            step = steps if state == "COMPLETE" else steps // 2
            rungs = {at: metrics for at in (steps // 2, steps) if at <= step}
            broken = number % 2 == 1
            done = TrialSummary(
                number, state, params, metrics["objective"], step, metrics, rungs, 20.0,
                violation=metrics["violation"], feasible=not broken,
            )  # fmt: skip
            view.update(TrialFinished(stage, done))
