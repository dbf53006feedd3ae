"""What a study promises on every kind of database; see `database_settings`."""

import os
import socket
import subprocess
import sys
import time

import optuna
import pytest
from sqlalchemy import create_engine, text

from cluster.database import open_database
from sweeps.errors import SweepError, SweepLocked
from sweeps.study.storage import open_storage, read_trials
from sweeps.study.study_session import StudySession
from sweeps.study_lock import StudyLock
from sweeps.sweep_store import Search, begin
from sweeps.trials import FROM
from tests.sweeps.driving import STUDY, at, recipe_with, run, run_all, search, stage_with, told


@pytest.fixture
def settings(database_settings):
    return database_settings


@pytest.fixture
def database(settings):
    opened = open_database(settings)
    yield opened
    opened.close()


@pytest.fixture
def opened(settings, database):
    bridges = []

    def open_(study=STUDY, stage=None, **sweep):
        bridges.append(StudySession(settings, database, study, stage or stage_with(**sweep)))
        return bridges[-1]

    yield open_
    for one in bridges:
        one.close()


@pytest.fixture
def storage(settings):
    found = open_storage(settings)
    yield found
    found.engine.dispose()


def test_a_study_is_created_asked_told_and_read(opened, settings):
    bridge = opened()
    assert read_trials(settings, "toy/sft/none") == []
    numbers = [bridge.ask().number for _ in range(4)]
    values = (0.5, 0.6, 0.1, 0.55)
    assert [bridge.report(number, at(0, values[number])) for number in numbers] == [
        True, True, False, True,
    ]  # fmt: skip
    assert not bridge.report(1, at(1, float("nan")))
    assert not bridge.report(0, at(2, 0.25))
    bridge.fail(3, "worker died")
    trials = read_trials(settings, STUDY)
    assert [one.state for one in trials] == ["COMPLETE", "FAIL", "PRUNED", "FAIL"]
    assert trials == bridge.trials() or str(trials) == str(bridge.trials())  # NaN
    assert trials[0].params == stage_with().defaults()
    assert trials[0].rungs[10]["objective"] == 0.5 and trials[0].objective == 0.25
    assert "nan at step 20" in trials[1].reason and trials[3].reason == "worker died"
    assert bridge.finished


def test_a_broken_trial_is_settled_and_the_next_suggestion_comes(opened, settings):
    bridge = opened(sampler="tpe", trials=6, startup_trials=2)
    run(bridge, bridge.ask())
    bridge.ask(), bridge.ask()
    assert not bridge.report(1, at(0, float("nan")))
    bridge.fail(2, "RuntimeError: shapes do not fit")
    bridge.fail(2, "told twice")
    assert not bridge.report(2, at(1, 0.5))
    assert bridge.ask().number == 3
    assert [one.reason for one in bridge.trials()] == [
        "",
        "objective is nan at step 10",
        "RuntimeError: shapes do not fit",
        "",
    ]
    bridge.stop_open("stopped on request")
    states = {one.state for one in read_trials(settings, STUDY)}
    assert states == {"COMPLETE", "FAIL"}


def test_trials_go_on_under_another_driver(opened):
    whole = told(run_all(opened("toy/sft/whole", sampler="tpe", trials=6)))
    bridge = opened(sampler="tpe", trials=6)
    first = bridge.ask()
    assert bridge.report(0, at(0, whole_value(whole, 0, 10)))
    bridge.close()
    bridge = opened(sampler="tpe", trials=6)
    again = bridge.ask()
    assert again.params == first.params and again.decided == 10
    run(bridge, again)
    assert told(run_all(bridge)) == whole


def whole_value(trials, number, step):
    rungs = eval(trials[number][3])
    return rungs[step]["objective"]


DRIVE = """
import sys, time
from tests.sweeps.driving import search, stage_with
from cluster.database import open_database
from cluster.settings import Settings
settings = Settings(home={home!r}, database_url={url!r})
print("ready", flush=True)
sys.stdin.readline()
search(settings, open_database(settings), stage_with(trials=3), {study!r})
print("done", flush=True)
"""


@pytest.fixture
def start(settings):
    """Another process with a home of its own that runs a whole search when told to."""
    started = []

    def begin_(study, home):
        script = DRIVE.format(
            home=str(home),
            url=settings.database_url,
            study=study,
        )
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield begin_
    for one in started:
        one.kill()
        one.wait()


def test_processes_that_start_at_once_on_an_empty_database_do_not_collide(
    settings, start, tmp_path
):
    """Each has a home of its own, as drivers on different machines have."""
    names = ["toy/sft/a", "toy/sft/b"]
    processes = [start(name, tmp_path / f"home-{index}") for index, name in enumerate(names)]
    for one in processes:
        assert one.stdout.readline() == "ready\n", one.stderr.read()
    ended = [one.communicate("\n", timeout=300) for one in processes]
    assert [out for out, _ in ended] == ["done\n"] * 2, ended
    assert [len(read_trials(settings, name)) for name in names] == [3, 3]


HOLD = """
from cluster.database import open_database
from cluster.settings import Settings
from sweeps.study_lock import StudyLock
import sys
settings = Settings(home={home!r}, database_url={url!r})
lock = StudyLock(settings, open_database(settings), {study!r})
print("held", flush=True)
sys.stdin.readline()
"""


def test_one_driver_at_a_time_and_a_killed_one_lets_go(settings, database, opened):
    script = HOLD.format(home=str(settings.home), url=settings.database_url, study=STUDY)
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(
            SweepLocked, match=f"sweep {STUDY} is already driven by process {holder.pid} on "
        ):
            opened()
        opened("toy/sft/other").close()
    finally:
        holder.kill()
        holder.wait()
    deadline = time.monotonic() + 120  # the server notices a lost connection by itself
    while True:
        try:
            lock = StudyLock(settings, database, STUDY)
            break
        except SweepLocked:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    lock.release()
    lock.release()
    assert opened().ask().number == 0


def end_session(database, owner):
    """End the database sessions of a process's locks, as a lost network does in the end."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :owner"
    with database.session() as session:
        assert session.scalars(text(query), {"owner": owner}).all() == [True]


def test_a_driver_whose_lock_went_to_another_must_not_go_on(settings, database):
    lock = StudyLock(settings, database, STUDY)
    lock.check()
    if settings.database_file is not None:
        return  # a file's lock ends with its process alone
    owner = f"process {os.getpid()} on {socket.gethostname()}"
    end_session(database, owner)
    lock.check()  # nobody else has it: it is taken again
    with pytest.raises(SweepLocked, match=f"already driven by {owner}"):
        StudyLock(settings, database, STUDY)
    end_session(database, owner)
    other = StudyLock(settings, database, STUDY)
    with pytest.raises(SweepLocked, match="is already driven by process "):
        lock.check()
    lock.release()
    other.check()
    other.release()


def test_another_direction_is_refused(opened, storage):
    opened().close()
    with pytest.raises(SweepError, match=r"is to maximize, but objective 'nll' is to minimize; "):
        opened(stage=stage_with({"objective": "nll"}))
    opened().close()  # the lock was given back


def test_a_study_of_several_objectives_is_refused(opened, storage):
    optuna.create_study(storage=storage, study_name=STUDY, directions=["maximize", "minimize"])
    with pytest.raises(SweepError, match=r"has 2 objectives; a sweep has one.*--fresh"):
        opened()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"lora": {"r": {"choice": [4, 8], "default": 8}}},
            r"lora\.r: trial 0 of study toy/sft/1-abc has it from choice \[4, 8, 16\], and the "
            r"recipe searches choice \[4, 8\]; start anew with --fresh, or give",
        ),
        ({"lora": {"r": {"int": [4, 16]}}}, r"from choice \[4, 8, 16\], .* int \[4, 16\]"),
        (
            {"learning_rate": {"uniform": [1e-5, 1e-1]}},
            r"learning_rate: .* loguniform \[1e-05, 0\.1\], .* uniform \[1e-05, 0\.1\]",
        ),
        ({"learning_rate": 1e-3}, r"learning_rate: .* searched it .* the recipe searches lora\.r"),
    ],
)
def test_a_space_that_contradicts_the_trials_there_are_is_refused(
    opened, settings, changed, message
):
    bridge = opened()
    run(bridge, bridge.ask())
    before = told(bridge.trials())
    bridge.close()
    with pytest.raises(SweepError, match=message):
        opened(stage=stage_with(changed))
    assert told(read_trials(settings, STUDY)) == before
    wider = stage_with({"learning_rate": {"loguniform": [1e-6, 1.0], "default": 1e-3}})
    assert opened(stage=wider).ask().number == 1  # bounds may move


def test_tables_of_another_optuna_are_one_clear_error(opened, settings):
    optuna.storages.RDBStorage(settings.database_url).engine.dispose()
    engine = create_engine(settings.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9.9.9.a'"))
    engine.dispose()
    with pytest.raises(SweepError, match=r"database .*no longer compatible.*ALIGNERY_DATABASE_URL"):
        opened()
    with pytest.raises(SweepError, match="no longer compatible"):
        read_trials(settings, STUDY)


def test_an_earlier_search_warms_up_a_new_one(settings, database):
    earlier = recipe_with(trials=5, rungs=[], pruner="none")
    row = begin(database, Search(earlier, "sft"))
    search(settings, database, earlier.stages["sft"], row.study)
    recipe = recipe_with(trials=3, sampler="tpe", warm_start="toy/sft:1", points=[{"lora.r": 16}])
    row = begin(database, Search(recipe, "sft"))
    with StudySession(settings, database, row.study, recipe.stages["sft"]) as bridge:
        assert "5 of 5 trials" in bridge.notes[0]
        trials = run_all(bridge)
        assert [one.number for one in trials] == [0, 6, 7]
        assert trials[1].params == {"learning_rate": 1e-3, "lora.r": 16}
        assert sum(FROM in one.user_attrs for one in bridge._study.trials) == 5


def test_unseen_measurements_and_infinities_survive(opened, settings):
    bridge = opened()
    bridge.ask(), bridge.ask()
    bridge.report(0, at(0, 0.5, violation=-0.5))
    assert not bridge.report(1, at(0, 0.9, violation=0.5))  # the worst there, however good
    bridge.report(0, at(2, 0.5, violation=-0.5))
    bridge.unseen(0, {"objective": 0.25}, {"began": 1.5, "ended": 2.5, "node": "n", "worker": "w"})
    default, broken = read_trials(settings, STUDY)
    assert default.unseen == {"objective": 0.25} and default.ran["unseen"]["ended"] == 2.5
    assert (broken.state, broken.objective, broken.feasible) == ("PRUNED", 0.9, False)
