"""`alignery gpu check` as a person and as CI run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import gpu_check
from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from alignery import app
from cluster.gpu_checks import passed_cards
from cluster.settings import Settings

ON_A_CPU = {"card", "fp16", "engine", "stages", "memory", "serving"}


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import alignery; alignery.main()", "gpu", "check", *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "NO_COLOR": "1", "ALIGNERY_HOME": str(home)},
    )


def test_all_that_needs_no_card_passes_on_a_cpu(home: Path) -> None:
    before = {path.name for path in home.iterdir()}
    done = run(home, "--cpu", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    plain = json.loads(done.stdout)
    assert plain["verdict"] == "PASS" and plain["card"] is None
    verdicts = {check["name"]: check["verdict"] for check in plain["checks"]}
    assert verdicts == {
        check.name: "PASS" if check.name in ON_A_CPU else "SKIP" for check in gpu_check.checks()
    }
    assert all({"figures", "sentence", "seconds"} <= check.keys() for check in plain["checks"])
    lines = [line for line in done.stderr.splitlines() if line[:4] in ("PASS", "SKIP")]
    assert len(lines) == len(verdicts) + 1
    assert json.loads((home / "gpu-check" / "cpu.json").read_text()) == plain
    assert {path.name for path in home.iterdir()} == {*before, "gpu-check"}
    assert str(home) not in done.stdout


def fine(_: Setting) -> Outcome:
    return passed("it is fine", share=0.5)


def broken(_: Setting) -> Outcome:
    raise KeyError("no such kernel")


def wrong(_: Setting) -> Outcome:
    return failed("it differs: report it")


@pytest.fixture
def checks(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The functions of three checks, which a test may replace."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    monkeypatch.setattr(gpu_check, "_silence_libraries", lambda: None)  # of this process
    functions = {"first": fine, "second": fine, "third": fine}
    monkeypatch.setattr(
        gpu_check,
        "checks",
        lambda: tuple(Check(name, function, 1, 1) for name, function in functions.items()),
    )
    return functions


@pytest.mark.parametrize("function", [broken, wrong])
def test_a_check_that_fails_is_exit_code_1_and_the_rest_runs(checks, home, function) -> None:
    checks["second"] = function
    done = CliRunner().invoke(app, ["gpu", "check", "--cpu", "--json"])
    assert done.exit_code == 1, done.output
    plain = json.loads(done.stdout)
    assert plain["verdict"] == "FAIL"
    assert [check["verdict"] for check in plain["checks"]] == ["PASS", "FAIL", "PASS"]
    assert json.loads((home / "gpu-check" / "cpu.json").read_text())["verdict"] == "FAIL"


def test_without_json_there_is_a_line_each(checks) -> None:
    done = CliRunner().invoke(app, ["gpu", "check", "--cpu"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ["PASS", "first"],
        ["PASS", "second"],
        ["PASS", "third"],
    ]
    assert lines[3].startswith("PASS: 3 passed in 0:0")


def test_a_part_of_the_checks_is_not_stored(checks, home) -> None:
    done = CliRunner().invoke(app, ["gpu", "check", "--cpu", "--only", "third,first", "--json"])
    assert [check["name"] for check in json.loads(done.stdout)["checks"]] == ["first", "third"]
    assert not (home / "gpu-check").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--cpu", "--only", "thrid"], "no check 'thrid'; did you mean 'third'?; allowed: first"),
        (["--cpu", "--base", "./missing"], "base './missing': no such folder"),
        ([], "no card to check: "),
    ],
)
def test_bad_input_is_one_line(checks, arguments, said) -> None:
    done = CliRunner().invoke(app, ["gpu", "check", *arguments])
    assert done.exit_code == 2
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_without_a_card_the_error_names_the_way_without(checks) -> None:
    done = CliRunner().invoke(app, ["gpu", "check"])
    assert "alignery gpu check --cpu" in done.stderr


def test_a_cards_result_is_copied_to_where_submit_looks(home: Path) -> None:
    file = home / "gpu-check" / "T4.json"
    file.parent.mkdir()
    file.write_text('{"verdict": "PASS"}')
    gpu_check._share(file)
    file.unlink()
    assert passed_cards(Settings()) == {"T4"}


def test_a_storage_that_is_away_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / "T4.json"
    file.write_text("{}")
    (home / "storage").write_text("a file where the folder would be")
    gpu_check._share(file)
    assert "could not be copied into the storage" in capsys.readouterr().err
