"""Everything that can be killed, killed in mid-sweep; then compared with an unbroken run."""

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.sweeps.commanding import finish, reports, start, trials_in, wait_for, write_recipe

pytestmark = pytest.mark.chaos

ONE = ("--max-concurrent", "1")

#: A Ray of its own for others to join: a head and one node with a CPU each.
CLUSTER = """
import os, sys
from cluster.simulated import simulated_pool
with simulated_pool() as pool:
    pool.join(cpus=1)
    pool.settle()
    print(pool.address, os.environ["RAY_AUTH_TOKEN_PATH"], flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def cluster():
    """Start a Ray; gives what a command needs to join it, and the process of its GCS."""
    running = []

    def begin():
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        address, token = process.stdout.readline().split()
        (gcs,) = (
            one
            for one in psutil.Process(process.pid).children(recursive=True)
            if "gcs_server" in one.name()
        )
        joined = {
            "ALIGNERY_RAY_ADDRESS": address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": token,
        }
        return joined, gcs

    yield begin
    for process in running:
        family = psutil.Process(process.pid).children(recursive=True)
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for one in family:
            if one.is_running():
                one.kill()


@pytest.fixture
def run(tmp_path, settings):
    """Run a command to its end; what it prints."""

    def to_end(*arguments, **environment):
        return finish(start(*arguments, cwd=tmp_path, **environment))[0]

    return to_end


def begin(settings, tmp_path, *arguments, milestones=1, **environment):
    """A command in mid-sweep: it has measured something more."""
    before = reports(settings)
    process = start(*arguments, cwd=tmp_path, **environment)
    wait_for(lambda: reports(settings) >= before + milestones, process)
    return process


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_driver_killed_again_and_again(settings, tmp_path, behave, run, sampler):
    file = write_recipe(tmp_path, trials=7, sampler=sampler)
    rng = random.Random(sampler)
    behave(sleep=0.4)
    arguments = ("run", file, *ONE)
    for _ in range(3):
        driver = begin(settings, tmp_path, *arguments)
        time.sleep(rng.uniform(0, 1))
        driver.kill()
        driver.wait()
        arguments = ("resume",)
    behave()
    resumed = run("resume", "--json")
    assert len(trials_in(resumed)) == 7
    assert trials_in(run("run", file, *ONE, "--fresh", "--json")) == trials_in(resumed)


def test_sigterm_to_the_whole_group_ends_quickly_and_can_be_continued(
    settings, tmp_path, behave, run
):
    file = write_recipe(tmp_path, trials=5)
    behave(sleep=0.4)
    driver = begin(settings, tmp_path, "run", file, *ONE)
    family = psutil.Process(driver.pid).children(recursive=True)
    os.killpg(driver.pid, signal.SIGTERM)
    finish(driver, code=128 + signal.SIGTERM, seconds=170)
    assert psutil.wait_procs(family, timeout=60)[1] == []
    behave()
    resumed = run("resume", "toy", "--json")
    assert trials_in(run("run", file, *ONE, "--fresh", "--json")) == trials_in(resumed)


def test_rays_head_killed(settings, tmp_path, behave, run, cluster):
    file = write_recipe(tmp_path, trials=5)
    behave(sleep=0.4)
    joined, gcs = cluster()
    # Ray's own patience is a minute; half of it keeps the test short, and ours shorter than Ray's.
    environment = {**joined, "RAY_gcs_rpc_server_reconnect_timeout_s": "30"}
    driver = begin(settings, tmp_path, "run", file, *ONE, milestones=3, **environment)
    gcs.kill()
    _, errors = finish(driver, code=2, seconds=170)
    assert (
        f"error: Ray's head at {joined['ALIGNERY_RAY_ADDRESS']} does not answer any more" in errors
    )
    assert "`alignery sweep resume` continues a sweep" in errors
    behave()
    joined, _ = cluster()
    resumed = run("resume", "--json", **joined)
    assert trials_in(run("run", file, *ONE, "--fresh", "--json")) == trials_in(resumed)


def test_a_local_ray_whose_head_is_killed(settings, tmp_path, behave, run):
    file = write_recipe(tmp_path, trials=3)
    behave(sleep=0.4)
    driver = begin(settings, tmp_path, "run", file, *ONE)
    family = psutil.Process(driver.pid).children(recursive=True)
    next(one for one in family if "gcs_server" in one.name()).kill()
    _, errors = finish(driver, code=2, seconds=170)
    assert "does not answer any more" in errors
    assert psutil.wait_procs(family, timeout=60)[1] == []
    behave()
    assert len(trials_in(run("resume", "--json"))) == 3


def test_a_killed_driver_is_stopped_by_another_process(settings, tmp_path, behave, run):
    file = write_recipe(tmp_path, trials=5)
    behave(sleep=0.4)
    driver = begin(settings, tmp_path, "run", file, *ONE, milestones=4)
    driver.kill()
    driver.wait()
    assert run("stop", "toy").startswith("toy/sft has ended: toy/sft:1, trial ")
    behave()
    resumed = run("resume", "toy", "--json")  # goes on after all
    assert len(trials_in(resumed)) == 5
