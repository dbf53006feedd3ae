"""Finalists are handed out, measured on unseen items, and compared."""

import json

import pytest

from cluster.storage import Storage
from sweeps.errors import SweepError
from sweeps.events import FinalistMeasured, TrialRetried
from sweeps.pool.protocols import End
from sweeps.pool.stage_job import StageJob, portable
from sweeps.results.finalist_queue import Finals
from sweeps.study.study_session import StudySession
from tests.sweeps.driving import STUDY, at, publish, recipe_with

RAN = {"began": 1.0, "ended": 2.0, "node": "a", "worker": "1"}
#: Of trials 0, 1, …; the default is the worst of them.
VALIDATION = (0.3, 0.7, 0.4, 0.6)


@pytest.fixture
def finals(settings, database, tmp_path):
    """The finalists of a search, and the events that they caused."""
    sessions, events = [], []

    def make(finalists=2, retries=1):
        recipe = recipe_with(rungs=[], finalists=finalists, retries=retries)
        if not sessions:
            bridge = StudySession(settings, database, STUDY, recipe.stages["sft"])
            sessions.append(bridge)
            for objective in VALIDATION:
                trial = bridge.ask()
                publish(settings, recipe, STUDY, trial, tmp_path)
                bridge.report(trial.number, at(2, objective))
        job = StageJob(settings=portable(settings), recipe=recipe, stage="sft", study=STUDY)
        return Finals(job, Storage(settings), sessions[0], events.append)

    make.events = events
    make.trials = lambda: sessions[0].trials()
    yield make
    for session in sessions:
        session.close()


def measured(objective):
    return {"unseen": json.dumps({"metrics": {"objective": objective}, "ran": RAN})}


def test_the_best_the_default_and_the_base_are_measured(finals):
    queue = finals()
    tasks = [queue.ask() for _ in range(4)]
    assert [(one.name, one.number) for one in tasks] == [
        ("default", 0), ("trial 1", 1), ("trial 3", 3), ("base", None),
    ]  # fmt: skip
    assert queue.ask() is None and not queue.done
    for task, objective in zip(tasks, (0.3, 0.4, 0.6, 0.2), strict=True):
        queue.result(task, measured(objective))
    assert queue.done
    standing = queue.standing(finals.trials())
    assert (standing.chosen, standing.searched_best) == (3, 1)
    assert finals.events[-1] == FinalistMeasured("sft", None, 0.2, "base", 4)


def test_what_was_measured_once_is_not_measured_again(finals):
    queue = finals()
    queue.result(queue.ask(), measured(0.3))
    assert [finals().ask().name, finals().ask().name] == ["trial 1"] * 2  # not the default
    assert finals.trials()[0].unseen == {"objective": 0.3}


def test_a_finalist_goes_to_another_worker_after_the_others(finals):
    queue = finals()
    default = queue.ask()
    queue.died(default, End("the node left", counts=True))
    assert [queue.ask().name for _ in range(4)] == ["trial 1", "trial 3", "base", "default"]
    assert finals.events == [TrialRetried("sft", 0, "the node left")]
    with pytest.raises(SweepError, match=r"default of toy/sft/1-abc could not be measured.*left"):
        queue.died(default, End("the node left", counts=True))


def test_a_lost_machine_is_never_held_against_a_finalist(finals):
    queue = finals(retries=0)
    for _ in range(5):
        queue.died(queue.ask(), End("the machine went away", counts=False))
    assert not queue.done


def test_an_error_on_unseen_items_says_how_to_do_without(finals):
    queue = finals()
    with pytest.raises(SweepError, match=r"no split.*stages\.sft\.sweep\.finalists to 0"):
        queue.result(queue.ask(), {"failure": "no split"})
    with pytest.raises(ValueError, match="as it was"):
        queue.result(queue.ask(), {"failure": "x", "error": ValueError("as it was")})


def test_without_finalists_nothing_is_measured(finals):
    queue = finals(finalists=0)
    assert queue.done and queue.ask() is None
    assert queue.standing(finals.trials()) is None
