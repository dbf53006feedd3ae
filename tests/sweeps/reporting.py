"""A stage of a report whose figures can be worked out by hand."""

from sweeps.report.data import Importance, StageReport, SweepReport, parameters
from sweeps.trials import TrialSummary
from tests.sweeps.driving import stage_with

#: Of trial n: its state, its objective by step, and whether it keeps to the constraints.
TRIALS = [
    ("COMPLETE", {10: 0.3, 20: 0.4, 30: 0.5}, True),
    ("PRUNED", {10: 0.2}, True),
    ("COMPLETE", {10: 0.4, 20: 0.6, 30: 0.7}, True),
    ("FAIL", {}, True),
    ("PRUNED", {10: 0.4, 20: 0.45}, True),
    ("COMPLETE", {10: 0.5, 20: 0.8, 30: 0.9}, False),
    ("RUNNING", {10: 0.35}, True),
]


def trial(number, state, objectives, feasible=True, **fields):
    rungs = {step: {"objective": value} for step, value in objectives.items()}
    step = max(objectives, default=0)
    params = {"learning_rate": 10 ** -(1 + number % 4), "lora.r": (4, 8, 16)[number % 3]}
    return TrialSummary(
        number, state, params, objectives.get(step), step, rungs.get(step, {}), rungs,
        feasible=feasible, **fields,
    )  # fmt: skip


def stage(trials=None, searched=None, **fields):
    if trials is None:
        trials = [trial(number, *one) for number, one in enumerate(TRIALS)]
    given = {
        "stage": "sft", "line": "toy/sft", "run": 1, "state": "running", "method": "sft",
        "objective": "accuracy", "minimised": False, "rungs": (10, 20), "wanted": 8,
        "parameters": parameters(stage_with(searched).space()), "trials": tuple(trials),
        "totals": {one.number: 30 for one in trials}, "importance": Importance({}, ""),
    }  # fmt: skip
    return StageReport(**given | fields)


def report(*stages):
    return SweepReport("toy", "running", "now", "tiny-random", stages, "", {})
