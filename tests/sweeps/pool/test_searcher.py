"""What a run of Tune does with tasks, results and ends of workers, without Ray."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from sweeps.pool import searcher
from sweeps.pool.failures import worker_ended
from sweeps.pool.protocols import End
from sweeps.pool.searcher import TuneRun


class FakeDispatcher:
    """Hands out tasks from a list; a trial continues as long as its result says so."""

    def __init__(self, *tasks: dict[str, Any]) -> None:
        self.tasks = list(tasks)
        self.ends: list[End] = []
        self.work = SimpleNamespace(look=lambda: None, finished=False)

    def next(self, _trial_id: str) -> dict[str, Any] | None:
        return self.tasks.pop(0) if self.tasks else None

    def result(self, _trial_id: str, result: dict[str, Any]) -> bool:
        return bool(result["continues"])

    def ended(self, _trial_id: str, end: End) -> None:
        self.ends.append(end)

    def revoked(self) -> list[str]:
        return []


def trial(trial_id: str = "t0", worker: object = None) -> Any:
    return SimpleNamespace(
        trial_id=trial_id,
        temporary_state=SimpleNamespace(ray_actor=worker),
        placement_group_factory="one CPU",
        status="RUNNING",
    )


def test_after_its_last_result_a_trial_keeps_its_worker() -> None:
    run = TuneRun(FakeDispatcher())  # type: ignore[arg-type]
    assert run.result(trial(), {"continues": True}) == TrialScheduler.CONTINUE
    assert run.result(trial(), {"continues": False}) == TrialScheduler.NOOP


def test_while_a_worker_is_idle_there_is_one_task_in_a_round() -> None:
    run = TuneRun(FakeDispatcher({"n": 0}, {"n": 1}, {"n": 2}))  # type: ignore[arg-type]
    assert [run.next("a"), run.next("b")] == [{"n": 0}, {"n": 1}]
    run.result(trial(), {"continues": False})
    assert run.next("c") is None
    run.begin_round()
    assert [run.next("c"), run.next("d")] == [{"n": 2}, None]


def test_finished_work_ends_the_search_and_idle_workers() -> None:
    dispatcher, stopped = FakeDispatcher(), []
    run = TuneRun(dispatcher)  # type: ignore[arg-type]
    run._controller = SimpleNamespace(stop_trial=stopped.append, get_live_trials=list)
    idle = trial()
    run.result(idle, {"continues": False})
    run.begin_round()
    assert run.next("a") is None and stopped == []
    dispatcher.work.finished = True
    run.begin_round()
    assert run.next("a") == Searcher.FINISHED and stopped == [idle]


@pytest.mark.parametrize(
    ("worker", "started", "counts"),
    [
        (None, False, True),  # a new worker that could not start
        ("reused", False, False),  # an idle worker that was dead already
        ("reused", True, True),
        (None, True, True),
    ],
)
def test_only_a_reused_worker_can_die_before_its_trial_began(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, worker: Any, started: bool, counts: bool
) -> None:
    monkeypatch.setattr(searcher, "node_lost", lambda _actor: False)
    file = tmp_path / "error.pkl"
    error = worker_ended(RayActorError("ab" * 8, "The actor's worker process has died."))
    file.write_bytes(ray.cloudpickle.dumps(error))
    dispatcher = FakeDispatcher()
    run = TuneRun(dispatcher)  # type: ignore[arg-type]
    ended = trial(worker=worker)
    ended.pickled_error_file = str(file)
    if started:
        run.started(ended)
    run.ended(ended)
    (end,) = dispatcher.ends
    assert end.counts == counts
    assert ("before the trial began" in end.reason) == (not counts)
