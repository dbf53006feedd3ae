"""`alignery sweep …` in a process of its own, with stand-ins for trials."""

import copy
import json
import os
import subprocess
import sys
import time

import yaml

from cluster.database import open_database
from sweeps.run_store import launches
from sweeps.study.storage import read_trials
from sweeps.sweep_store import newest
from tests.sweeps.toy_recipe import FAKE, RECIPE

#: The command line itself; `with` a number of CPUs where it starts its own Ray.
PROGRAM = f"""
import functools, sys
import cluster.ray
import sweeps.pipeline as pipeline
pipeline.run_pipeline = functools.partial(pipeline.run_pipeline, factory="{FAKE}")
cluster.ray.ray_session = functools.partial(cluster.ray.ray_session, num_cpus=1)
import alignery
alignery.main()
"""


def write_recipe(folder, stages=("sft",), finalists=0, **sweep):
    """A recipe file with some stages of the toy recipe, searched as `sweep` says."""
    raw = copy.deepcopy(RECIPE)
    raw["stages"] = {name: raw["stages"][name] for name in stages}
    for stage in raw["stages"].values():
        stage["sweep"] |= {"finalists": finalists, **sweep}
    file = folder / "toy.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False))
    return str(file)


def start(*arguments, cwd, **environment):
    """Start a command; `environment` adds variables."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "sweep", *arguments],
        env={**os.environ, **environment},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process, code=0, seconds=500):
    """What a command has printed, once it has ended as expected."""
    out, errors = process.communicate(timeout=seconds)
    assert process.returncode == code, errors
    return out, errors


def wait_for(condition, process, seconds=500):
    """Wait until something is true while a command runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.1)


def reports(settings, line="toy/sft"):
    """How many milestones of the line's newest sweep the study knows."""
    database = open_database(settings)
    try:
        if not launches(database) or not any(True for _ in (settings.home / "locks").glob("*")):
            return 0
        row = newest(database, line)
        return sum(len(one.rungs) for one in read_trials(settings, row.study))
    except LookupError:
        return 0
    finally:
        database.close()


def told(trials):
    """What a killed driver must not change of trials, as JSON has them."""
    return [
        (one["number"], one["state"], one["params"], objectives(one), one["reason"])
        for one in trials
    ]


def objectives(trial):
    return {step: metrics["objective"] for step, metrics in trial["rungs"].items()}


def trials_in(out, stage="sft"):
    """The trials that a command printed as JSON."""
    return told(json.loads(out)[stage]["trials"])
