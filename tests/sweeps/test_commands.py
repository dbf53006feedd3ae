"""The commands on stand-ins for trials, on one Ray: what a person types and reads."""

import functools
import json
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

import alignery
import sweeps.runner
from cluster.database import open_database
from sweeps.commands import sweep_app
from sweeps.errors import SweepError, SweepNotFound
from sweeps.pipeline import run_pipeline
from sweeps.sweep_store import Search, begin
from tests.sweeps.commanding import write_recipe
from tests.sweeps.toy_recipe import FAKE


@pytest.fixture
def call(settings, monkeypatch):
    """Call a command that succeeds."""
    fake = functools.partial(run_pipeline, factory=FAKE)
    monkeypatch.setattr(sweeps.runner, "run_pipeline", fake)

    def invoke(*arguments):
        result = CliRunner().invoke(sweep_app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    return invoke


@pytest.fixture
def read(call):
    """Call a command with --json; what it prints."""
    return lambda *arguments: json.loads(call(*arguments, "--json").stdout)


@pytest.fixture
def refused(settings):
    """Call a command that does nothing; the line it says."""

    def invoke(*arguments):
        result = CliRunner().invoke(alignery.app, ["sweep", *arguments])
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert result.stderr.count("\n") == 1
        return result.stderr

    return invoke


def test_a_sweep_from_its_start_to_more_trials(local_ray, call, read, tmp_path, calls):
    file = write_recipe(tmp_path, ("sft", "reward"), finalists=1, trials=2)
    ran = call("run", file, "--max-concurrent", "2", "--json")
    found = json.loads(ran.stdout)
    assert list(found) == ["sft", "reward"]
    sft = found["sft"]
    assert sft["adapter"] == "toy/sft:1" and len(sft["trials"]) == 2
    assert sft["best"]["number"] == sft["best_trial"] == sft["unseen"]["chosen"]
    assert "toy/sft" in ran.stderr

    status = read("status")
    assert status["launch"]["state"] == "finished" and status["launch"]["recipe"] == "toy"
    assert status["sweeps"] == list(found.values())
    assert read("status", "toy/reward")["sweeps"] == [found["reward"]]
    shown = call("status", "toy").stdout
    assert "toy: finished" in shown and "COMPLETE" in shown and "unseen items (test)" in shown

    assert read("best", "toy/sft") == sft
    told = call("best", "toy/sft").stdout
    assert told.startswith("toy/sft:1: trial ") and "on 20 unseen items accuracy" in told
    listed = read("list")
    assert [one["state"] for one in listed["launches"]] == ["finished"]
    assert [one["line"] for one in listed["sweeps"]] == ["toy/sft", "toy/reward"]
    assert "toy/reward" in call("list").stdout

    # Nothing is left to do: a finished sweep is told again, and no Ray is asked.
    count = len(calls())
    again = call("resume", "toy", "--json")
    assert json.loads(again.stdout) == found and "toy has finished: toy/sft:1" in again.stderr
    assert "resume toy --add N" in call("resume").stderr
    assert "there are so many trials already" in call("resume", "toy", "--trials", "2").stderr
    assert "none has failed" in call("resume", "toy/sft", "--failed").stderr
    assert call("stop", "toy").stdout == "toy is finished already\n"
    assert call("pause", "toy/sft").stdout == "toy is finished already\n"
    assert len(calls()) == count

    # A line alone gets more trials; what builds on it is not searched again.
    more = call("resume", "toy/sft", "--add", "3", "--json")
    longer = json.loads(more.stdout)
    assert list(longer) == ["sft"]
    assert longer["sft"]["trials"][:2] == sft["trials"] and len(longer["sft"]["trials"]) == 5
    assert {one["stage"] for one in calls("open")[count:]} <= {"sft"}
    better = longer["sft"]["adapter"] != "toy/sft:1"
    advice = "`alignery sweep run RECIPE --from reward`"
    assert (advice in more.stderr) == better
    assert len(read("resume", "toy/sft", "--trials", "6")["sft"]["trials"]) == 6


def test_a_line_is_searched_on_with_the_parent_that_it_had(local_ray, read, call, tmp_path):
    from cluster.registry import open_registry
    from cluster.settings import Settings

    file = write_recipe(tmp_path, ("sft", "reward"), trials=1)
    first = read("run", file, "--max-concurrent", "1")
    # Another run of the parent finds another best, which is promoted.
    raw = yaml.safe_load((tmp_path / "toy.yaml").read_text())
    raw["stages"]["sft"]["learning_rate"]["default"] = 5e-3
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw))
    other = read("run", file, "--only", "sft", "--promote", "--max-concurrent", "1")
    assert other["sft"]["adapter"] == "toy/sft:2"
    assert open_registry(Settings()).aliases("toy/sft")["toy/sft@champion"].number == 2
    more = read("resume", "toy/reward", "--add", "1")["reward"]
    assert more["study"] == first["reward"]["study"] and len(more["trials"]) == 2


def test_failed_trials_run_again(local_ray, call, read, behave, tmp_path):
    file = write_recipe(tmp_path, trials=3)
    behave(training_error=[1])
    found = read("run", file, "--max-concurrent", "1")["sft"]
    assert [one["state"] for one in found["trials"]].count("FAIL") == 1
    behave()
    again = read("resume", "toy/sft", "--failed")["sft"]
    assert len(again["trials"]) == 4
    repeated = again["trials"][3]
    assert (repeated["again"], repeated["params"]) == (1, found["trials"][1]["params"])
    assert repeated["state"] in ("COMPLETE", "PRUNED")
    assert "none has failed" in call("resume", "toy", "--failed").stderr


def test_a_sweep_in_which_all_failed_can_be_run_again(local_ray, call, read, behave, tmp_path):
    file = write_recipe(tmp_path, trials=2)
    behave(training_error=[0, 1])
    with pytest.raises(SweepError, match=r"no trial of toy/sft/1-.* was completed"):
        call("run", file, "--max-concurrent", "1")
    assert read("status")["launch"]["state"] == "failed"
    assert "failed (SweepError: no trial" in call("status").stdout
    behave()
    again = read("resume", "--failed")["sft"]
    assert [one["state"] for one in again["trials"]][:2] == ["FAIL", "FAIL"]
    assert again["run"] == 1 and again["adapter"] == "toy/sft:1"


def test_from_a_stage_on_and_one_alone(local_ray, call, read, tmp_path):
    file = write_recipe(tmp_path, ("sft", "reward", "grpo"), trials=1)
    one = ("--max-concurrent", "1")
    assert list(read("run", file, "--only", "sft", *one)) == ["sft"]
    assert list(read("run", file, "--from", "reward", *one)) == ["reward", "grpo"]
    assert [launch["stages"] for launch in read("list")["launches"]] == [
        ["sft"],
        ["reward", "grpo"],
    ]


def test_what_contradicts_itself_is_refused_before_anything_starts(refused, settings, tmp_path):
    file = write_recipe(tmp_path, ("sft", "reward"))
    assert "--from sft and --only sft contradict" in refused(
        "run", file, *["--from", "sft", "--only", "sft"]
    )
    assert "did you mean 'sft'?" in refused("run", file, "--only", "stf")
    assert "`alignery sweep run RECIPE --only sft`" in refused("run", file, "--only", "reward")
    assert "give --dry-run too" in refused("run", file, "--accelerator", "T4", "--gpus", "1")
    assert "expected key=value" in refused("run", file, "--label", "spot")
    assert "--add and --trials contradict" in refused(
        "resume", "toy", "--add", "1", "--trials", "2"
    )
    for command in (["resume"], ["resume", "toy"], ["pause", "toy"], ["stop", "toy"], ["status"]):
        assert "no sweep was run yet; start one with `alignery sweep run" in refused(*command)
    assert not (settings.home / "storage").exists()


def test_names_that_nobody_knows_are_answered_with_what_is_near(settings, recipe, refused):
    database = open_database(settings)
    begin(database, Search(recipe, "sft"))
    for command in ("resume", "pause", "stop", "status"):
        assert "no sweep of 'toy/stf'; did you mean 'toy/sft'?" in refused(command, "toy/stf")
        assert "there are sweeps of toy/sft" in refused(command, "nothing")


def test_a_sweep_that_a_program_drives_cannot_be_asked(settings, recipe, refused):
    begin(open_database(settings), Search(recipe, "sft"))
    for command in ("resume", "pause", "stop"):
        assert "toy/sft was not searched by `alignery sweep run`" in refused(command, "toy/sft")


def test_before_the_first_sweep_the_commands_say_so(settings):
    with pytest.raises(SweepNotFound, match="alignery sweep run RECIPE"):
        CliRunner().invoke(sweep_app, ["status"], catch_exceptions=False)
    assert "no sweeps yet" in CliRunner().invoke(sweep_app, ["list"]).stderr


def test_looking_imports_nothing_heavy(settings):
    code = (
        "import sys\nfrom sweeps.commands import sweep_app\n"
        "sweep_app(['list'], standalone_mode=False)\n"
        "assert not {'torch', 'ray', 'transformers', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, capture_output=True)


def test_a_search_that_stops_by_its_rule_says_so_and_goes_on_if_asked(
    local_ray, call, read, tmp_path
):
    rule = {"gain_below": 0.9}
    file = write_recipe(tmp_path, trials=8, rungs=[], pruner="none", stop_when=rule)
    ran = call("run", file, "--max-concurrent", "1", "--price", "3600", "--json")
    found = json.loads(ran.stdout)["sft"]
    begun = len(found["trials"])
    assert begun < 8 and found["state"] == "finished"
    assert found["stopped_early"]["begun"] == begun and found["stopped_early"]["wanted"] == 8
    said = f"< 0.9 after {begun} of 8 trials"
    assert said in ran.stderr
    coming = found["next_trial"]
    assert coming["usd"] == pytest.approx(coming["seconds"]) and coming["left"] == 0
    shown = call("status").stdout
    assert shown.count(said) == 1 and "another trial: expected gain +" in shown and "USD" in shown

    again = read("run", file, "--max-concurrent", "1")["sft"]
    assert len(again["trials"]) == begun and again["run"] == 1
    more = read("resume", "toy", "--add", "2")["sft"]
    assert len(more["trials"]) == begun + 2 and more["state"] == "finished"
    assert more["stopped_early"] is None and said not in call("status").stdout
