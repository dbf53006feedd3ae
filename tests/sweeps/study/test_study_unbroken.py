"""A study whose driver dies, at every write or anywhere else, ends as one of an unbroken driver."""

import importlib.util
import math
import random

import pytest

from cluster.database import open_database
from sweeps.study.storage import open_storage
from sweeps.study.study_session import StudySession
from sweeps.trials import Milestone
from tests.sweeps.driving import STEPS, STUDY, at, run, run_all, search, stage_with, told, value

WITH_CMAES = pytest.param(
    "cmaes",
    "successive_halving",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("cmaes") is None, reason="the package cmaes is not installed"
    ),
)
CONDITIONAL = {
    "lora": {"r": {"choice": [4, 8], "default": 8}, "lora_alpha": "2 * r"},
    "weight_decay": {"uniform": [0.0, 0.2], "default": 0.1, "when": {"lora.r": 4}},
}


class Killed(Exception):
    """Stands for SIGKILL: nothing of the driver runs afterwards."""


@pytest.fixture
def database(settings):
    return open_database(settings)


def poor(params, index):
    """Trials that learn nothing above a learning rate of 1e-2 give NaN."""
    return math.nan if params["learning_rate"] > 1e-2 else value(params, index)


def drive(settings, database, stage, study, rng):
    """Drive a study with a driver that is lost before one in three steps."""
    bridge, busy = StudySession(settings, database, study, stage), None
    deaths = 0
    while True:
        if rng.random() < 1 / 3:
            bridge.close()
            bridge, busy = StudySession(settings, database, study, stage), None
            deaths += 1
        if busy is None:
            if (assignment := bridge.ask()) is None:
                break
            busy = (assignment, sum(step <= assignment.decided for step in (10, 20)))
        assignment, index = busy
        goes_on = bridge.report(assignment.number, at(index, poor(assignment.params, index)))
        busy = (assignment, index + 1) if goes_on else None
    found = told(bridge.trials())
    bridge.close()
    assert deaths > 3
    return found


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    [("tpe", "successive_halving"), ("random", "hyperband"), ("nsga2", "median"), WITH_CMAES],
)
def test_a_driver_lost_anywhere_changes_nothing(settings, database, sampler, pruner):
    stage = stage_with(CONDITIONAL, trials=12, sampler=sampler, pruner=pruner)
    whole = told(search(settings, database, stage, measure=poor))
    states = {state for _, state, *_ in whole}
    assert {"COMPLETE", "PRUNED"} <= states and len(whole) == 12
    # Hyperband gives trials to brackets by the study's name too, so a broken study must share it.
    with open_storage_of(settings) as storage:
        storage.delete_study(storage.get_study_id_from_name(STUDY))
    assert drive(settings, database, stage, STUDY, random.Random(1)) == whole


def test_a_driver_killed_at_some_writes_changes_nothing(settings, database, monkeypatch):
    kill_at_writes(settings, database, monkeypatch, every=17)


def kill_at_writes(settings, database, monkeypatch, every):
    """Kill a driver at every so many writes: each time, the study ends as the unbroken one."""
    stage = stage_with(CONDITIONAL, trials=5, sampler="tpe", startup_trials=2)
    whole = told(search(settings, database, stage, measure=poor))
    writes = count_writes(settings, database, stage, monkeypatch)
    assert writes > 40
    for last in range(0, writes, every):
        study = f"toy/sft/{last}"
        with monkeypatch.context() as patched:
            allow(patched, last)
            with pytest.raises(Killed):
                search(settings, database, stage, study, poor)
        assert told(search(settings, database, stage, study, poor)) == whole, f"write {last}"


def in_bracket(settings, database, stage, study):
    """Search with the pruner `paired`; trials wait for each other at rungs."""
    with StudySession(settings, database, study, stage) as session:
        while not session.finished:
            session.decide_rung()
            assignment = session.ask()
            assert assignment is not None, "nobody is handed out, and trials are open"
            for index in range(sum(step <= assignment.decided for step in STEPS), len(STEPS)):
                loss = -value(assignment.params, index)
                values = {str(item): loss + item % 5 for item in range(40)}
                metrics = {"objective": -loss} if index == len(STEPS) - 1 else {"rung": loss}
                milestone = Milestone(STEPS[index], STEPS[-1], index, metrics, values=values)
                if not session.report(assignment.number, milestone):
                    break
        return [(trial.number, trial.state, trial.params) for trial in session.trials()]


def test_a_bracket_whose_driver_is_killed_at_some_writes_ends_as_the_unbroken_one(
    settings, database, monkeypatch
):
    stage = stage_with(trials=4, pruner="paired", pruner_options={"at_least": 1})
    whole = in_bracket(settings, database, stage, STUDY)
    assert {state for _, state, _ in whole} == {"COMPLETE", "PRUNED"}
    for last in (2, 9, 16, 21, 25, 29, 33):
        study = f"toy/sft/{last}"
        with monkeypatch.context() as patched:
            allow(patched, last)
            with pytest.raises(Killed):
                in_bracket(settings, database, stage, study)
        assert in_bracket(settings, database, stage, study) == whole, f"write {last}"


def test_two_trials_at_once_go_on_where_they_were(settings, database):
    stage = stage_with(trials=6, sampler="tpe", startup_trials=2)
    with StudySession(settings, database, STUDY, stage) as bridge:
        before = [bridge.ask() for _ in range(3)]
        for one in before[:2]:
            assert bridge.report(one.number, at(0, 0.5))
    with StudySession(settings, database, STUDY, stage) as bridge:
        after = [bridge.ask() for _ in range(3)]
        assert [(one.number, one.params) for one in after] == [
            (one.number, one.params) for one in before
        ]
        assert [one.decided for one in after] == [10, 10, 0]
        for one in after:
            run(bridge, one)
        run_all(bridge)
        assert bridge.finished and len(bridge.trials()) == 6


WRITES = (
    "create_new_trial",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
)


def allow(monkeypatch, writes):
    """Let Optuna's storage write so many times, then raise."""
    from optuna.storages import _CachedStorage

    left = [writes]

    def guarded(original):
        def write(*arguments, **more):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return original(*arguments, **more)

        return write

    for name in WRITES:
        monkeypatch.setattr(_CachedStorage, name, guarded(getattr(_CachedStorage, name)))
    return left


def count_writes(settings, database, stage, monkeypatch):
    with monkeypatch.context() as patched:
        left = allow(patched, 10_000)
        search(settings, database, stage, "toy/sft/count", poor)
        return 10_000 - left[0]


class open_storage_of:
    def __init__(self, settings):
        self._storage = open_storage(settings)

    def __enter__(self):
        return self._storage

    def __exit__(self, *_):
        self._storage.engine.dispose()
