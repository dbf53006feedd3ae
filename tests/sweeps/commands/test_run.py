"""`alignery sweep run --dry-run`, and what is refused before anything starts, as typed."""

import json

import pytest
from typer.testing import CliRunner

import alignery
from tests.sweeps.commanding import write_recipe


def call(*arguments):
    return CliRunner().invoke(alignery.app, ["sweep", "run", *arguments])


def test_a_dry_run_tells_the_plan_and_makes_nothing(settings):
    result = call("arithmetic", "--dry-run", "--accelerator", "T4", "--gpus", "4", "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert (plan["recipe"], plan["machine"], plan["machines"]) == ("arithmetic", "T4", 4)
    assert plan["hours"]["low"] > 0 and plan["cost"] is None
    assert not (settings.home / "storage").exists()


def test_a_plan_is_of_the_stages_that_would_be_searched(settings, tmp_path):
    result = call("arithmetic", "--dry-run", "--only", "sft", "--trials", "7", "--accelerator",
                  "T4", "--gpus", "1", "--json")  # fmt: skip
    (stage,) = json.loads(result.stdout)["stages"]
    assert (stage["stage"], stage["trials"]) == ("sft", 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus", "4"], "give --dry-run too"),
        (["--label", "spot"], "expected key=value"),
        (["--from", "stf"], "did you mean 'sft'?"),
    ],
)
def test_what_is_refused_starts_nothing(settings, tmp_path, options, message):
    result = call(write_recipe(tmp_path, ("sft", "reward")), *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert not (settings.home / "storage").exists()


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"trials": 8, "stop_when": {"gain_below": 0.01}}, "with 2 trials it never does"),
        ({"points": [{"learning_rate": 0.01}, {"learning_rate": 0.02}]}, "need trials: 3 or more"),
    ],
)
def test_a_number_of_trials_that_the_recipe_does_not_allow_starts_nothing(
    settings, tmp_path, sweep, message
):
    result = call(write_recipe(tmp_path, **sweep), "--trials", "2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not (settings.home / "storage").exists()
