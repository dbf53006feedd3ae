"""What the bridge to a study decides, on Optuna's storage in memory: no database and no lock file.

A killed driver is one that is never closed: the next one opens the same storage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from sweeps.errors import SweepError
from sweeps.study import study_session as bridge_module
from sweeps.study import study_trials
from sweeps.study.study_session import StudySession
from sweeps.trials import Milestone
from tests.sweeps.driving import STUDY, at, run, run_all, stage_with, told

SETTINGS, DATABASE = object(), object()
Open = Callable[..., StudySession]


class Memory(optuna.storages.InMemoryStorage):
    """A storage that outlives its drivers, and counts those that gave their connections back."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0
        self.engine = SimpleNamespace(dispose=self._close)

    def _close(self) -> None:
        self.closed += 1


class Lock:
    """Notes who took it."""

    held: list[tuple[object, object, str]]

    def __init__(self, settings: object, database: object, study: str) -> None:
        self._what = (settings, database, study)
        Lock.held.append(self._what)

    def release(self) -> None:
        if self._what in Lock.held:
            Lock.held.remove(self._what)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = Memory()
    Lock.held = []
    monkeypatch.setattr(
        study_trials, "open_storage", lambda settings: {id(SETTINGS): made}[id(settings)]
    )
    monkeypatch.setattr(bridge_module, "StudyLock", Lock)
    monkeypatch.setattr(study_trials, "begin_with", lambda *_: {})  # priors take a database
    return made


@pytest.fixture
def opened(memory: Memory) -> Iterator[Open]:
    def open_(stage: Any = None, **sweep: Any) -> StudySession:
        return StudySession(SETTINGS, DATABASE, STUDY, stage or stage_with(**sweep))  # type: ignore[arg-type]

    yield open_


def frozen(memory: Memory, number: int = 0) -> Any:
    return optuna.load_study(study_name=STUDY, storage=memory).trials[number]


# Opening and closing


def test_a_study_is_locked_while_it_is_driven(opened: Open, memory: Memory) -> None:
    with opened() as bridge:
        assert Lock.held == [(SETTINGS, DATABASE, STUDY)]
        assert bridge.name == STUDY and memory.closed == 0
    assert Lock.held == [] and memory.closed == 1


def test_a_study_that_cannot_be_opened_is_not_locked(opened: Open) -> None:
    opened().close()
    with pytest.raises(SweepError, match="is to maximize"):
        opened(stage_with({"objective": "nll"}))
    assert Lock.held == []


def test_a_closed_bridge_records_nothing(opened: Open) -> None:
    bridge = opened()
    bridge.ask()
    bridge.close()
    assert not bridge.report(0, at(0, 0.5))


# Asking


def test_the_default_comes_first_and_numbers_follow(opened: Open) -> None:
    bridge = opened(trials=3)
    asked = [bridge.ask() for _ in range(3)]
    assert [one.number for one in asked if one] == [0, 1, 2]
    assert asked[0] is not None and asked[0].params == {"learning_rate": 1e-3, "lora.r": 8}
    assert all(one.decided == 0 for one in asked if one)
    assert bridge.ask() is None and bridge.wanted == 3


def test_suggestions_depend_on_seed_number_and_field_alone(opened: Open, memory: Memory) -> None:
    bridge = opened(trials=4, seed=7)
    params = [one.params for _ in range(4) if (one := bridge.ask())]
    rates = {one["learning_rate"] for one in params}
    assert len(rates) == 4
    # A driver that was killed between two fields: the other is drawn as it would have been.
    for sampler in ("random", "tpe"):
        expected = _second(sampler)
        assert _second(sampler, killed=True) == expected


def _second(sampler: str, killed: bool = False) -> dict[str, Any]:
    """The parameters of trial 1, asked for in one go or by two drivers."""
    stage, memory = stage_with(trials=4, seed=7, sampler=sampler), Memory()
    patch = pytest.MonkeyPatch()
    patch.setattr(study_trials, "open_storage", lambda _: memory)
    try:
        bridge = StudySession(SETTINGS, DATABASE, STUDY, stage)  # type: ignore[arg-type]
        bridge.ask()
        for index in range(3):
            bridge.report(0, at(index, 0.5))
        if killed:
            suggest = study_trials.suggest

            def broken_off(trial: Any, stage: Any, reseed: Callable[[str], None]) -> dict[str, Any]:
                def once(path: str) -> None:
                    if trial.params:  # the first field is stored
                        raise KeyboardInterrupt
                    reseed(path)

                return suggest(trial, stage, once)

            patch.setattr(study_trials, "suggest", broken_off)
            with pytest.raises(KeyboardInterrupt):
                bridge.ask()
            patch.setattr(study_trials, "suggest", suggest)
            bridge = StudySession(SETTINGS, DATABASE, STUDY, stage)  # type: ignore[arg-type]
        second = bridge.ask()
        assert second is not None and second.number == 1
        return second.params
    finally:
        patch.undo()


class Recorder(optuna.samplers.RandomSampler):
    """Notes for which trial and field it was made, when it is asked."""

    def __init__(self, log: list[tuple[str, int, str]], number: int, path: str) -> None:
        super().__init__(seed=number)
        self._note = lambda what: log.append((what, number, path))

    def sample_relative(self, *given: Any) -> dict[str, Any]:
        self._note("whole")
        return super().sample_relative(*given)

    def sample_independent(self, *given: Any) -> Any:
        self._note("field")
        return super().sample_independent(*given)


def test_the_sampler_sees_the_whole_trial_and_then_each_field(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[tuple[str, int, str]] = []
    bridge = opened()

    def make(_: Any, number: int, path: str = "") -> Recorder:
        return Recorder(log, number, path)

    monkeypatch.setattr(type(bridge._sampling), "make", make)
    bridge.ask()
    assert log == []  # the default is queued: there is nothing to suggest
    bridge.ask()
    assert log[0] == ("whole", 1, "") and len(log) == 3
    assert set(log[1:]) == {("field", 1, "learning_rate"), ("field", 1, "lora.r")}
    bridge.release(1)
    again = bridge.ask()
    assert again is not None and again.number == 1
    assert len(log) == 3  # a trial that was asked for already has its parameters


def test_every_point_of_a_grid_is_tried_once(opened: Open) -> None:
    bridge = opened(stage_with({"learning_rate": 1e-3}, sampler="grid", trials=9))
    asked = [one.params["lora.r"] for _ in range(3) if (one := bridge.ask())]
    assert asked[0] == 8 and sorted(asked) == [4, 8, 16]
    assert bridge.wanted == 3 and bridge.ask() is None


def test_a_killed_drivers_last_trial_is_handed_out_though_all_were_begun(opened: Open) -> None:
    opened(trials=1).ask()
    again = opened(trials=1).ask()
    assert again is not None and again.number == 0


def test_a_killed_drivers_trials_come_first_with_what_was_decided(opened: Open) -> None:
    bridge = opened()
    before = [bridge.ask(), bridge.ask()]
    assert bridge.report(0, at(0, 0.5))
    bridge = opened()
    after = [bridge.ask(), bridge.ask(), bridge.ask()]
    assert [one.number for one in after if one] == [0, 1, 2]
    assert [one.params for one in after[:2] if one] == [one.params for one in before if one]
    assert [one.decided for one in after if one] == [10, 0, 0]


def test_a_released_trial_is_handed_out_again_and_others_are_not(opened: Open) -> None:
    bridge = opened()
    bridge.ask(), bridge.ask()
    bridge.release(1)
    bridge.release(1)
    bridge.release(99)
    assert not bridge.report(1, at(0, 0.5))  # nobody runs it
    again = bridge.ask()
    assert again is not None and again.number == 1
    third = bridge.ask()
    assert third is not None and third.number == 2


# Reporting


def test_everything_that_was_measured_is_kept(opened: Open, memory: Memory) -> None:
    bridge = opened()
    bridge.ask()
    ran = {"began": 1.0, "ended": 2.0, "node": "n", "worker": "w"}
    metrics = {"objective": 0.5, "seconds": 3.0}
    assert bridge.report(0, Milestone(10, 30, 0, metrics, ran))
    assert bridge.report(0, Milestone(20, 30, 1, metrics))
    kept = frozen(memory)
    assert kept.user_attrs == {
        "ran:10": ran,
        "rung:10": metrics,
        "rung:20": metrics,
        "decided": 20,
        "origin": "default",
    }
    assert kept.state == TrialState.RUNNING
    one = bridge.summary(0)
    assert one.rungs == {10: metrics, 20: metrics} and one.seconds == 6.0


def test_the_last_step_completes_a_trial_with_its_objective(opened: Open, memory: Memory) -> None:
    bridge = opened()
    bridge.ask()
    assert not bridge.report(0, at(2, 0.75))
    kept = frozen(memory)
    assert (kept.state, kept.value) == (TrialState.COMPLETE, 0.75)
    assert not bridge.report(0, at(2, 0.1)) and frozen(memory).value == 0.75


def test_a_milestone_reported_again_changes_nothing(opened: Open, memory: Memory) -> None:
    bridge = opened()
    bridge.ask()
    assert bridge.report(0, at(1, 0.5))
    for index in (0, 1):
        assert bridge.report(0, at(index, 0.1))
    assert list(frozen(memory).intermediate_values.values()) == [0.5]
    assert set(frozen(memory).user_attrs) == {"origin", "rung:20", "decided"}
    bridge.ask()
    assert bridge.report(1, at(0, 0.5)) and bridge.report(1, at(0, 0.5))
    assert "completed_rung_1" not in frozen(memory, 1).system_attrs  # the pruner was asked once


def test_a_rung_may_be_the_first_step(opened: Open, memory: Memory) -> None:
    bridge = opened(rungs=[1, 20])
    bridge.ask()
    assert bridge.report(0, Milestone(1, 30, 0, {"objective": 0.5, "seconds": 1.0}))
    assert frozen(memory).user_attrs["decided"] == 1


def test_the_first_measurement_of_a_milestone_counts(opened: Open, memory: Memory) -> None:
    """A driver was killed after it stored a measurement and before it decided."""
    bridge = opened()
    bridge.ask()
    storage = memory
    storage.set_trial_user_attr(frozen(memory)._trial_id, "rung:30", at(2, 0.25).metrics)
    ran = {"began": 1.0}
    bridge = opened()
    bridge.ask()
    assert not bridge.report(0, Milestone(30, 30, 2, {"objective": 0.9}, ran))
    assert frozen(memory).value == 0.25 and "ran:30" not in frozen(memory).user_attrs


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_an_objective_that_is_no_number_fails_the_trial(opened: Open, value: float | None) -> None:
    bridge = opened()
    bridge.ask()
    metrics = {} if value is None else {"objective": value}
    assert not bridge.report(0, Milestone(10, 30, 0, metrics))
    one = bridge.summary(0)
    shown = math.nan if value is None else value
    assert (one.state, one.reason) == ("FAIL", f"objective is {shown} at step 10")


def test_the_poorer_half_is_pruned_and_the_default_never(opened: Open, memory: Memory) -> None:
    bridge = opened()
    for _ in range(3):
        bridge.ask()
    assert bridge.report(1, at(0, 0.9))
    assert bridge.report(0, at(0, 0.1))
    assert not bridge.report(2, at(0, 0.5))
    pruned, default = frozen(memory, 2), frozen(memory, 0)
    assert pruned.state == TrialState.PRUNED and pruned.user_attrs["pruned"] == 10
    assert "decided" not in pruned.user_attrs
    assert default.state == TrialState.RUNNING and default.user_attrs["decided"] == 10
    # The i-th rung is resource 2^i; what halving noted there is what later trials are held to.
    assert default.intermediate_values == {1: 0.1}
    assert default.system_attrs["completed_rung_0"] == 0.1
    assert bridge.report(0, at(1, 0.1)) and frozen(memory).intermediate_values == {1: 0.1, 2: 0.1}


def test_pruners_that_count_in_optimizer_steps_are_told_these(opened: Open, memory: Memory) -> None:
    bridge = opened(pruner="median")
    bridge.ask()
    assert bridge.report(0, at(0, 0.5)) and bridge.report(0, at(1, 0.6))
    assert frozen(memory).intermediate_values == {10: 0.5, 20: 0.6}


def test_less_is_better_where_the_objective_says_so(opened: Open) -> None:
    bridge = opened(stage_with({"objective": "nll"}))
    for _ in range(3):
        bridge.ask()
    assert bridge.report(1, at(0, 0.1))
    assert not bridge.report(2, at(0, 0.5))


@pytest.mark.parametrize("objective", ["accuracy", "nll"])
def test_a_trial_that_breaks_a_constraint_counts_as_the_worst(
    opened: Open, memory: Memory, objective: str
) -> None:
    bridge = opened(stage_with({"objective": objective}))
    for _ in range(3):
        bridge.ask()
    best = 0.99 if objective == "accuracy" else 0.01
    assert bridge.report(1, at(0, 0.5, violation=0.0))
    assert not bridge.report(2, at(0, best, violation=0.3))
    pruned = frozen(memory, 2)
    worst = -math.inf if objective == "accuracy" else math.inf
    assert pruned.intermediate_values == {1: worst}
    assert pruned.constraints == {"violation": 0.3}
    assert bridge.summary(2).objective == best
    assert not bridge.report(0, at(2, 0.5, violation=0.2))
    assert frozen(memory, 0).constraints == {"violation": 0.2} and frozen(memory, 0).value == 0.5


def test_a_trial_that_nobody_runs_is_not_reported(opened: Open) -> None:
    bridge = opened()
    assert not bridge.report(0, at(0, 0.5))
    bridge.fail(0, "x")
    assert not bridge.died(0, "x", counts=False) and not bridge.died(0, "x", counts=True)
    assert bridge.trials() == [] and not bridge.started


# Ends


def test_a_failure_keeps_its_first_reason(opened: Open) -> None:
    bridge = opened()
    bridge.ask()
    bridge.fail(0, "disk full")
    bridge.fail(0, "again")
    assert (bridge.summary(0).state, bridge.summary(0).reason) == ("FAIL", "disk full")


def test_deaths_count_over_all_drivers_and_only_those_that_count(
    opened: Open, memory: Memory
) -> None:
    bridge = opened(retries=2)
    bridge.ask()
    assert bridge.died(0, "lost", counts=False) and "deaths" not in frozen(memory).user_attrs
    assert bridge.died(0, "crash", counts=True) and frozen(memory).user_attrs["deaths"] == 1
    bridge = opened(retries=2)
    bridge.ask()
    assert bridge.died(0, "crash", counts=True) and frozen(memory).user_attrs["deaths"] == 2
    assert not bridge.died(0, "crash again", counts=True)
    assert (bridge.summary(0).state, bridge.summary(0).reason) == ("FAIL", "crash again")


def test_a_stop_fails_all_that_is_open_and_hands_out_no_more(opened: Open, memory: Memory) -> None:
    bridge = opened()
    bridge.ask(), bridge.ask()
    bridge.report(0, at(2, 0.5))
    bridge._study.enqueue_trial({"learning_rate": 1e-2, "lora.r": 4})
    bridge.stop_open("asked to")
    assert bridge.ask() is None and bridge.finished
    assert not bridge.report(1, at(0, 0.5)) and not bridge.died(1, "x", counts=False)
    states = [(one.state, one.reason) for one in bridge.trials()]
    assert states == [("COMPLETE", ""), ("FAIL", "asked to"), ("FAIL", "asked to")]
    bridge.stop_open("again")
    assert [one.reason for one in bridge.trials()] == ["", "asked to", "asked to"]


def test_what_failed_can_be_repeated_once(opened: Open) -> None:
    bridge = opened(trials=2)
    first, second = bridge.ask(), bridge.ask()
    assert first is not None and second is not None
    bridge.report(0, at(2, 0.5))
    bridge.stop_open("asked to")
    assert (bridge.again(), bridge.again()) == (1, 0)
    assert bridge.wanted == 3 and not bridge.finished
    repeat = bridge.ask()
    assert repeat is not None and (repeat.number, repeat.params) == (2, second.params)
    assert bridge.ask() is None
    bridge.report(2, at(2, 0.5))
    assert bridge.summary(2).again == 1 and bridge.finished


def test_a_study_is_finished_once_all_trials_have_ended(opened: Open) -> None:
    bridge = opened(trials=2)
    bridge.ask()
    assert not bridge.started
    bridge.report(0, at(2, 0.5))
    assert bridge.started and not bridge.finished
    bridge.ask()
    assert not bridge.finished
    bridge.report(1, at(0, 0.4))
    assert not bridge.finished
    bridge.report(1, at(2, 0.4))
    assert bridge.finished and bridge.ask() is None


def test_what_a_finished_trial_did_on_unseen_items_is_kept(opened: Open, memory: Memory) -> None:
    bridge = opened()
    bridge.ask()
    bridge.report(0, at(2, 0.5))
    bridge.unseen(0, {"accuracy": 0.4}, {"node": "n"})
    one = bridge.summary(0)
    assert one.unseen == {"accuracy": 0.4} and one.ran == {"unseen": {"node": "n"}}
    bridge.unseen(0, {"accuracy": 0.3})
    study = optuna.load_study(study_name=STUDY, storage=memory)
    assert study.user_attrs == {"unseen:0": {"metrics": {"accuracy": 0.3}}}


# What a killed driver left half written


def left(opened: Open, memory: Memory, number: int = 0, **attrs: Any) -> StudySession:
    """The next driver, where one was killed that had written these attributes of a trial."""
    for key, value in attrs.items():
        memory.set_trial_user_attr(frozen(memory, number)._trial_id, key, value)
    return opened()


def test_a_failure_that_was_only_noted_is_carried_out(opened: Open, memory: Memory) -> None:
    opened().ask()
    bridge = left(opened, memory, reason="disk full")
    assert (bridge.summary(0).state, bridge.summary(0).reason) == ("FAIL", "disk full")
    following = bridge.ask()
    assert following is not None and following.number == 1


def driver_killed_while_it_judged(opened: Open, memory: Memory, objective: float) -> int:
    """Trial 2 was measured at the first rung, of which the pruner's value is stored."""
    bridge = opened()
    for _ in range(3):
        bridge.ask()
    assert bridge.report(1, at(0, 0.9))
    identity: int = frozen(memory, 2)._trial_id
    memory.set_trial_user_attr(identity, "rung:10", at(0, objective, violation=0.3).metrics)
    memory.set_trial_intermediate_value(identity, 1, objective)
    return identity


def test_a_pruning_that_was_only_decided_is_carried_out(opened: Open, memory: Memory) -> None:
    identity = driver_killed_while_it_judged(opened, memory, 0.5)
    memory.set_trial_user_attr(identity, "pruned", 10)
    bridge = opened()
    kept = frozen(memory, 2)
    assert kept.state == TrialState.PRUNED and kept.constraints == {"violation": 0.3}
    assert bridge.summary(2).state == "PRUNED"
    asked = [bridge.ask() for _ in range(3)]
    assert [one.number for one in asked if one] == [0, 1, 3]


def test_what_the_pruner_wanted_noted_is_noted(opened: Open, memory: Memory) -> None:
    identity = driver_killed_while_it_judged(opened, memory, 0.95)
    memory.set_trial_user_attr(identity, "decided", 10)
    assert "completed_rung_0" not in frozen(memory, 2).system_attrs
    opened()
    kept = frozen(memory, 2)
    assert kept.state == TrialState.RUNNING
    assert kept.system_attrs["completed_rung_0"] == 0.95


def test_what_was_not_decided_is_decided_when_it_is_reported_again(
    opened: Open, memory: Memory
) -> None:
    driver_killed_while_it_judged(opened, memory, 0.5)
    bridge = opened()
    kept = frozen(memory, 2)
    assert kept.state == TrialState.RUNNING and "completed_rung_0" not in kept.system_attrs
    for _ in range(3):
        bridge.ask()
    assert not bridge.report(2, at(0, 0.99))  # the first measurement counts
    assert frozen(memory, 2).state == TrialState.PRUNED


def test_one_half_written_trial_does_not_keep_the_next_from_being_settled(
    opened: Open, memory: Memory
) -> None:
    bridge = opened()
    for _ in range(4):
        bridge.ask()
    memory.set_trial_user_attr(frozen(memory, 0)._trial_id, "reason", "a")
    # Trial 1 was never measured; both must be gone over.
    memory.set_trial_user_attr(frozen(memory, 2)._trial_id, "reason", "c")
    bridge = opened()
    assert [one.state for one in bridge.trials()] == ["FAIL", "RUNNING", "FAIL", "RUNNING"]


def test_a_search_with_a_killed_driver_is_the_unbroken_one(opened: Open, memory: Memory) -> None:
    unbroken = told(run_all(opened(sampler="tpe", trials=6)))
    again, patch = Memory(), pytest.MonkeyPatch()
    patch.setattr(study_trials, "open_storage", lambda _: again)
    try:
        for _ in range(3):
            bridge = opened(sampler="tpe", trials=6)
            assignment = bridge.ask()
            assert assignment is not None
            run(bridge, assignment)
        assert told(run_all(opened(sampler="tpe", trials=6))) == unbroken
    finally:
        patch.undo()
