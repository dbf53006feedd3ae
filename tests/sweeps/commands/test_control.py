"""`alignery sweep pause` and `stop` where no driver is left, as typed."""

import pytest
from typer.testing import CliRunner

import alignery
from sweeps import run_store
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import FINISHED, Search, begin, read, update


@pytest.fixture
def run(launch, database, recipe, settings):
    """A run whose driver has died, with a trial that it left open."""
    made = launch("sft")
    row = begin(database, Search(recipe, "sft"), launch=made.id)
    with StudySession(settings, database, row.study, recipe.stages["sft"]) as bridge:
        bridge.ask()
    return made, row


def call(*arguments):
    result = CliRunner().invoke(alignery.app, ["sweep", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_run_without_a_driver_counts_as_paused_and_once(run, database):
    assert call("pause", "toy") == "toy had no driver any more, and counts as paused now\n"
    assert run_store.read(database, run[0].id).state == "paused"
    assert call("pause", "toy/sft") == "toy is paused already\n"


@pytest.mark.parametrize("name", ["toy", "toy/sft"])
def test_without_a_driver_it_is_stopped_at_once(run, database, name):
    call("stop", name)
    assert read(database, run[1].id).state == "stopped"
    assert run_store.read(database, run[0].id).request == ""  # nobody is left to be asked


def test_what_is_finished_stays(run, database):
    update(database, run[1].id, state=FINISHED)
    assert call("stop", "toy/sft") == "toy/sft is finished already\n"
    run_store.update(database, run[0].id, state=FINISHED)
    assert call("stop", "toy") == "toy is finished already\n"
    assert call("pause", "toy") == "toy is finished already\n"
