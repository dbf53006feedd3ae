"""Whose fault the end of a worker is."""

import pytest
from ray.exceptions import (
    ActorUnavailableError,
    ActorUnschedulableError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
)

from sweeps.pool.failures import classify, worker_ended

ACTOR = "ab" * 8


def died(message):
    return worker_ended(RayActorError(ACTOR, message))


def dead(_actor):
    return True


def alive(_actor):
    return False


@pytest.mark.parametrize(
    ("error", "begun", "lost", "counts", "says"),
    [
        (RayTaskError("step", "", ValueError("too big")), True, alive, True, "ValueError: too big"),
        (died("The actor's worker process has died."), True, alive, True, "process died: The act"),
        (died("The actor's worker process has died."), True, dead, False, "machine went away"),
        (died("The actor's worker process has died."), False, alive, False, "before the trial"),
        (died("because its node has died. Node Id: 1"), True, alive, False, "machine went away"),
        (died("The Raylet died unexpectedly"), True, alive, False, "machine went away"),
        (worker_ended(ActorUnavailableError("network", None)), True, alive, False, "went away"),
        (worker_ended(ActorUnschedulableError("node left")), True, alive, False, "not schedulable"),
        (worker_ended(RayActorError(ACTOR, "gone", False, True)), True, alive, False, "went away"),
        (
            worker_ended(OutOfMemoryError("3 worker(s)")),
            True,
            alive,
            True,
            "memory was nearly full",
        ),
        (None, True, alive, True, "process failed"),
    ],
)
def test_whose_fault_an_end_is(error, begun, lost, counts, says):
    end = classify(error, begun, lost)
    assert end.counts == counts and says in end.reason
    assert end.memory == ("nearly full" in end.reason)


def test_every_end_comes_to_tune_as_an_error_that_it_handles():
    assert isinstance(worker_ended(OutOfMemoryError("3 worker(s) were killed")), RayActorError)
    assert worker_ended(OutOfMemoryError("3 worker(s) were killed")).kind == "memory"
    assert worker_ended(ActorUnschedulableError("gone")).kind == "lost"
    own = RayTaskError("step", "", ValueError())
    assert worker_ended(own) is own
