"""Seconds of a trial, from what earlier sweeps measured."""

from types import SimpleNamespace

import pytest

from align.memory.machines import GPUS, Machine
from align.memory.shape import read_shape
from align.recipe import load_recipe
from cluster.database import open_database
from sweeps.planning.throughput import Pace, find_pace, measured_pace, pace_of
from sweeps.sweep_store import FINISHED
from sweeps.trials import TrialSummary

CPU = Machine("CPU", 2**34, "bfloat16", "cpu")


def test_measured_seconds_replace_arithmetic():
    def trial(number, state, rungs):
        return TrialSummary(number, state, {}, 0.5, max(rungs), {}, rungs)

    rung = {"seconds_train": 20.0, "seconds_evaluate": 4.0, "seconds_load": 3.0}
    end = {"seconds_train": 42.0, "seconds_evaluate": 9.0, "seconds_load": 0.0}
    found = pace_of(
        [trial(0, "COMPLETE", {10: rung, 30: end}), trial(1, "PRUNED", {10: rung})], "s"
    )
    assert isinstance(found, Pace) and found.source == "s"
    assert found.step.low < 2.0 < found.step.high  # of 2.0, 2.1 and 2.0
    assert found.rung.low < 4.0 < found.rung.high and found.end.low < 9.0 < found.end.high
    assert found.begin.low < 3.0 < found.begin.high
    assert pace_of([trial(0, "COMPLETE", {10: {"seconds": 1.0}})], "s") is None


def timed(number, state, *milestones):
    """A trial of (step, seconds of training, of evaluation, of loading)."""
    names = ("seconds_train", "seconds_evaluate", "seconds_load")
    rungs = {step: dict(zip(names, seconds, strict=True)) for step, *seconds in milestones}
    return TrialSummary(number, state, {}, 0.5, max(rungs), {}, rungs)


def test_medians_are_of_steps_since_the_last_milestone_rungs_ends_and_beginnings():
    trials = [
        timed(0, "COMPLETE", (10, 20.0, 4.0, 3.0), (30, 44.0, 9.0, 90.0)),
        timed(1, "PRUNED", (10, 24.0, 8.0, 7.0)),
        timed(2, "PRUNED", (10, 21.0, 5.0, 8.0), (20, 23.0, 6.0, 80.0)),
    ]
    found = pace_of(trials, "s")
    middles = {"step": 2.2, "rung": 5.5, "end": 9.0, "begin": 7.0}
    for name, middle in middles.items():
        around = getattr(found, name)
        assert (around.low, around.high) == pytest.approx((0.9 * middle, 1.2 * middle)), name
    only = pace_of(trials[1:2], "s")  # none has come to its end
    assert only.end == only.rung


def test_the_newest_sweep_on_the_same_kind_of_machine_tells_the_pace(settings, monkeypatch):
    open_database(settings).close()  # else nothing was searched yet
    gpu, cpu = (True, "float16"), (False, "bfloat16")
    ran = [(FINISHED, cpu), (FINISHED, gpu), (FINISHED, gpu), (FINISHED, cpu), ("running", gpu)]
    rows = [
        SimpleNamespace(state=state, adapter_id=str(at), study=f"study-{at}")
        for at, (state, _) in enumerate(ran)
    ]
    versions = [
        SimpleNamespace(
            adapter_id=str(at),
            manifest=SimpleNamespace(accelerator_seconds=float(on_gpu), dtype=dtype),
        )
        for at, (_, (on_gpu, dtype)) in enumerate(ran)
    ]
    registry = SimpleNamespace(versions=lambda line: versions)
    monkeypatch.setattr("sweeps.planning.throughput.sweeps", lambda database, line: rows)
    monkeypatch.setattr("sweeps.planning.throughput.open_registry", lambda settings: registry)
    trials = [timed(0, "COMPLETE", (10, 20.0, 4.0, 3.0))]
    monkeypatch.setattr("sweeps.planning.throughput.read_trials", lambda settings, study: trials)
    assert measured_pace(settings, "toy/sft", GPUS["T4"]).source == "study-2"
    assert measured_pace(settings, "toy/sft", CPU).source == "study-3"
    assert measured_pace(settings, "toy/sft", GPUS["A100-40"]) is None  # trains in another dtype


def test_a_line_that_was_never_searched_has_a_calculated_pace(settings):
    recipe, shape = load_recipe("arithmetic"), read_shape("smollm2-135m-instruct")

    def pace(stage, machine):
        return find_pace(settings, recipe, stage, machine, shape, cores=2)

    cpu, gpu = pace("sft", CPU), pace("sft", GPUS["T4"])
    assert (cpu.source, gpu.source) == ("rough", "rough")
    assert 0 < gpu.step.low < gpu.step.high < cpu.step.high
    assert pace("grpo", GPUS["T4"]).step.high > gpu.step.high  # which writes what it learns from
    assert not (settings.home / "alignery.db").exists()  # looking makes nothing


def test_without_a_database_nothing_was_measured(settings):
    assert measured_pace(settings, "toy/sft", CPU) is None
    assert not (settings.home / "alignery.db").exists()
    assert pace_of([], "s") is None
