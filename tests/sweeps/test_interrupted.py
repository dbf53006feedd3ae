"""A driver that is killed or stopped, and the one that goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import FAKE

from cluster.database import open_database
from sweeps.errors import SweepLocked
from sweeps.ledger import newest
from sweeps.study.storage import read_trials
from sweeps.sweep import run_sweep

DRIVER = f"""
from align.recipe import parse_recipe
from cluster.ray import ray_session
from cluster.settings import Settings
from conftest import RECIPE
from sweeps.sweep import run_sweep

settings = Settings()
with ray_session(settings, num_cpus=2):
    run_sweep(settings, parse_recipe(RECIPE), "sft", factory="{FAKE}")
"""


@pytest.fixture
def driver(settings, tmp_path):
    """A driver in a process of its own, in mid-sweep: something is measured, nothing is over."""
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        env={**os.environ, "PYTHONPATH": here},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: measured(settings), process)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition, process, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.2)


def measured(settings):
    if not (settings.home / "calls.jsonl").is_file():
        return []
    row = newest(open_database(settings))
    return [one for one in read_trials(settings, row.study) if one.rungs]


def check_continued(before, result, calls):
    assert [one.number for one in result.trials] == [0, 1, 2, 3]
    for old in before:
        now = result.trials[old.number]
        assert now.params == old.params
        assert {step: now.rungs[step] for step in old.rungs} == old.rungs
        for step in old.rungs:
            done = [c for c in calls("advance") if (c["trial"], c["step"]) == (old.number, step)]
            assert len(done) == 1
    assert {one.state for one in result.trials} <= {"COMPLETE", "PRUNED"}


def test_a_killed_driver_is_continued_with_the_same_trials(
    behave, local_ray, settings, recipe, calls, request
):
    behave(sleep=0.7)
    driver = request.getfixturevalue("driver")
    with pytest.raises(SweepLocked, match=f"process {driver.pid}"):
        run_sweep(settings, recipe, "sft", factory=FAKE)
    driver.kill()
    driver.wait()
    row = newest(open_database(settings))
    before = [one for one in read_trials(settings, row.study) if one.state != "WAITING"]
    assert row.state == "running" and any(one.rungs for one in before)
    behave()
    result = run_sweep(settings, recipe, "sft", factory=FAKE)
    assert result.study == row.study
    check_continued(before, result, calls)
    assert result.seconds > row.seconds > 0


def test_ctrl_c_ends_quickly_leaves_no_process_and_can_be_continued(
    behave, local_ray, settings, recipe, calls, request
):
    behave(sleep=0.7)
    driver = request.getfixturevalue("driver")
    family = psutil.Process(driver.pid).children(recursive=True)
    assert family
    driver.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, errors = driver.communicate(timeout=30)
    assert time.monotonic() - began < 15
    assert "KeyboardInterrupt" in errors
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
    row = newest(open_database(settings))
    assert row.state == "stopped"
    before = [one for one in read_trials(settings, row.study) if one.state != "WAITING"]
    behave()
    result = run_sweep(settings, recipe, "sft", factory=FAKE)
    assert result.study == row.study
    check_continued(before, result, calls)
