"""A driver that is killed, interrupted, paused or stopped, and the one that goes on."""

import functools
import json
import os
import signal

import psutil
import pytest
from typer.testing import CliRunner

import alignery
import sweeps.runner
from sweeps.pipeline import run_pipeline
from tests.sweeps.commanding import finish, start, told, trials_in, wait_for, write_recipe
from tests.sweeps.toy_recipe import FAKE

ONE = ("--max-concurrent", "1")


@pytest.fixture
def call(settings, monkeypatch, local_ray):
    """Call a command in this process, on the Ray that is there; what it prints on stdout."""
    fake = functools.partial(run_pipeline, factory=FAKE)
    monkeypatch.setattr(sweeps.runner, "run_pipeline", fake)

    def invoke(*arguments, code=0):
        result = CliRunner().invoke(alignery.app, ["sweep", *arguments])
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 else result.stderr

    return invoke


@pytest.fixture
def begun(settings, tmp_path, behave, local_ray):
    """Start a command; gives it when trials before `held` have ended, and that one never does."""
    started = []

    def begin(*arguments, held=1, **environment):
        behave(waits_for={f"sft/{held}": "never"})
        process = start(*arguments, cwd=tmp_path, **environment)
        started.append(process)
        wait_for(lambda: (settings.home / f"opened-sft-{held}").exists(), process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def check_unbroken(call, file, resumed):
    """The resumed trials are those of a driver that nobody touched."""
    assert trials_in(resumed) == trials_in(call("run", file, *ONE, "--fresh", "--json"))


def test_a_killed_driver_is_continued_as_if_nothing_had_happened(
    settings, tmp_path, behave, calls, begun, call, local_ray
):
    file = write_recipe(tmp_path, trials=5)
    driver = begun("run", file, *ONE, ALIGNERY_RAY_ADDRESS=local_ray)
    status = json.loads(call("status", "--json"))
    assert status["launch"]["state"] == "running"
    assert status["launch"]["driver"].startswith(f"process {driver.pid} on ")
    assert f"already driven by process {driver.pid}" in call("resume", code=2)
    driver.kill()
    driver.wait()
    stopped = json.loads(call("status", "toy", "--json"))
    assert stopped["launch"]["state"] == "interrupted"
    assert [one["state"] for one in stopped["sweeps"][0]["trials"]].count("RUNNING") == 1
    behave()
    resumed = call("resume", "--json")
    assert json.loads(resumed)["sft"]["study"] == stopped["sweeps"][0]["study"]
    done = [(one["trial"], one["step"]) for one in calls("advance")]
    assert len(done) - len(set(done)) <= 1  # what was under way; nothing that was reported
    check_unbroken(call, file, resumed)
    assert json.loads(call("status", "toy", "--json"))["launch"]["state"] == "finished"
    # Finishing twice is harmless.
    assert told(json.loads(call("resume", "toy", "--json"))["sft"]["trials"])


def test_ctrl_c_waits_for_no_trial_leaves_no_process_and_can_be_continued(
    settings, tmp_path, behave, begun, call
):
    file = write_recipe(tmp_path, trials=5)
    driver = begun("run", file, *ONE)
    family = psutil.Process(driver.pid).children(recursive=True)
    assert family
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
    _, errors = finish(driver, code=130)  # its trial would go on for ever
    assert errors.splitlines()[-1] == "stopped"
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    launch = json.loads(call("status", "--json"))["launch"]
    assert (launch["state"], launch["reason"]) == ("stopped", "stopped by Ctrl-C")
    behave()
    check_unbroken(call, file, call("resume", "toy", "--json"))


def test_pausing_and_stopping_from_another_terminal(
    settings, tmp_path, behave, begun, call, local_ray
):
    file = write_recipe(tmp_path, ("sft", "reward"), trials=6)
    here = {"ALIGNERY_RAY_ADDRESS": local_ray}
    driver = begun("run", file, *ONE, **here)
    assert "toy is paused; `alignery sweep resume toy` goes on" in call("pause", "toy/sft")
    _, errors = finish(driver, code=2)
    assert "sweep toy is paused, nothing measured is lost" in errors
    paused = json.loads(call("status", "--json"))
    assert paused["launch"]["state"] == "paused"
    assert paused["launch"]["reason"] == "paused on request"
    assert [one["state"] for one in paused["sweeps"][0]["trials"]].count("RUNNING") == 1

    driver = begun("resume", "toy", held=2, **here)
    assert call("stop", "toy").startswith("toy/sft has ended: toy/sft:1, trial ")
    out, errors = finish(driver)
    assert "toy/sft:1: trial " in out
    assert "stopped on request, without reward; `alignery sweep resume toy` goes on" in errors
    stopped = json.loads(call("status", "--json"))
    trials = stopped["sweeps"][0]["trials"]
    assert "RUNNING" not in [one["state"] for one in trials]
    assert {one["reason"] for one in trials if one["state"] == "FAIL"} <= {"stopped on request"}
    assert stopped["launch"]["state"] == "stopped" and len(trials) < 6

    behave()
    ended = json.loads(call("resume", "--json"))
    assert list(ended) == ["sft", "reward"]
    assert {name: len(one["trials"]) for name, one in ended.items()} == {"sft": 6, "reward": 6}


def test_an_edited_recipe_is_told_what_it_changes_before_anything_runs(
    settings, tmp_path, behave, call
):
    behave()
    first = json.loads(call("run", write_recipe(tmp_path, trials=2), *ONE, "--json"))["sft"]
    file = write_recipe(tmp_path, trials=3)
    goes_on = "goes on with run 1; since it began: sweep.trials 2 → 3"
    assert f"sft: {goes_on}" in call("run", file, "--dry-run")
    more = json.loads(call("run", file, *ONE, "--json"))["sft"]
    assert (more["study"], more["remarks"]) == (first["study"], [goes_on])
    other = write_recipe(tmp_path, trials=3, rungs=[10])
    assert "sft: a new search since run 1 differs: sweep.rungs" in call("run", other, "--dry-run")
    anew = json.loads(call("run", other, *ONE, "--json"))["sft"]
    assert anew["run"] == 2
    assert anew["remarks"][0].startswith(
        "a new search, run 2, since run 1 differs: sweep.rungs [10, 20] → [10]. Run 1 stays"
    )
    assert anew["remarks"][0] in " ".join(call("status", "toy").split())
