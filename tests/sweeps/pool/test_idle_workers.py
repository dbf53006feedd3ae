"""Which idle workers are passed on, kept or ended in a round of Tune's loop."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune import PlacementGroupFactory, Trainable
from ray.tune.execution.tune_controller import TuneController
from ray.tune.schedulers import TrialScheduler

from sweeps.pool.idle_workers import IdleWorkers
from sweeps.pool.trainable import TrialRunner

SMALL = PlacementGroupFactory([{"CPU": 1}])
LARGE = PlacementGroupFactory([{"CPU": 2}])


class FakeTrial:
    def __init__(self, resources: Any, status: str = "PENDING", worker: Any = None) -> None:
        self.placement_group_factory, self.status, self.ray_actor = resources, status, worker

    @property
    def temporary_state(self) -> FakeTrial:
        return self


class FakeController:
    """Live trials; a trial that is stopped leaves them."""

    def __init__(self) -> None:
        self.live: list[FakeTrial] = []
        self.stopped: list[FakeTrial] = []

    def get_live_trials(self) -> list[FakeTrial]:
        return self.live

    def stop_trial(self, trial: FakeTrial) -> None:
        self.live.remove(trial)
        self.stopped.append(trial)


class Pool:
    """Idle workers with a clock that the test sets, and resources for which there is no room."""

    def __init__(self, *idle: Any) -> None:
        self.now, self.full = 0.0, True
        self.controller = FakeController()
        self.idle = IdleWorkers(lambda resources: self.full, lambda: self.now)
        for resources in idle:
            trial = FakeTrial(resources, "RUNNING", "worker")
            self.controller.live.append(trial)
            self.idle.add(trial)  # type: ignore[arg-type]

    def wait(self, resources: Any, worker: Any = None) -> None:
        self.controller.live.append(FakeTrial(resources, worker=worker))

    def round(self) -> int:
        """How many idle workers are given up in a round."""
        before = len(self.controller.stopped)
        self.idle.assign(self.controller)
        return len(self.controller.stopped) - before


def test_idle_workers_stay_while_no_trial_waits() -> None:
    pool = Pool(SMALL, LARGE)
    assert pool.round() == 0 and len(pool.idle) == 2
    pool.idle.release(pool.controller)
    assert len(pool.idle) == 0 and len(pool.controller.stopped) == 2


def test_a_trial_gets_an_idle_worker_with_its_resources_at_once_and_one_in_a_round() -> None:
    pool = Pool(LARGE, SMALL, SMALL)
    pool.wait(SMALL)
    pool.wait(SMALL)
    assert [pool.round(), pool.round()] == [1, 1]
    assert [trial.placement_group_factory for trial in pool.controller.stopped] == [SMALL, SMALL]


def test_beside_trials_with_other_resources_a_trial_is_placed_before_it_gets_a_worker() -> None:
    pool = Pool(SMALL)
    pool.wait(LARGE)
    pool.wait(SMALL)
    assert [pool.round(), pool.round()] == [0, 1]


def test_a_trial_that_has_a_worker_takes_no_other() -> None:
    pool = Pool(SMALL)
    pool.wait(SMALL, worker="reused")
    assert pool.round() == 0


@pytest.mark.parametrize("full", [True, False])
def test_idle_workers_make_room_for_a_trial_that_cannot_be_placed(full: bool) -> None:
    pool = Pool(SMALL, SMALL)
    pool.full = full
    pool.wait(LARGE)
    assert pool.round() == 0
    pool.now = 1.0
    assert pool.round() == 0
    pool.now = 1.1
    assert pool.round() == (2 if full else 0)  # with room, its worker is only starting


def test_tune_leaves_the_worker_of_a_trial_alone_until_it_is_told_to_stop() -> None:
    """`NOOP` is a public constant without documentation: what it does is read from the source."""
    assert TrialScheduler.NOOP == "NOOP"
    source = inspect.getsource(TuneController._execute_action)
    assert "decision == TrialScheduler.NOOP:\n            pass" in source


def test_workers_replace_no_private_name_of_their_base_class() -> None:
    own = {name for name in vars(TrialRunner) if name.startswith("_") and not name.endswith("__")}
    assert not own & vars(Trainable).keys()
    source = inspect.getsource(Trainable)
    fields = ("_open_trial", "_job", "_assignment", "_measurement", "_done", "_importing")
    assert not [name for name in fields if f"self.{name}" in source]


def test_a_worker_stays_in_its_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "1")
    monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", str(tmp_path))  # else it would stay set
    monkeypatch.setattr(TrialRunner, "setup", lambda self, config: None)
    storage = SimpleNamespace(
        trial_fs_path="trial", trial_working_directory=str(tmp_path / "trial")
    )
    TrialRunner({}, storage)
    assert Path.cwd() == tmp_path
    assert os.environ["RAY_CHDIR_TO_TRIAL_DIR"] == "0"
