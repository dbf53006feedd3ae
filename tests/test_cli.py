"""What every command shares: help, errors in one line, and a quick start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import alignery
from align.errors import RecipeError

HEAVY = ("torch", "ray", "transformers", "trl", "peft", "datasets")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The program in a process of its own; stdout ends with the heavy modules it imported."""
    code = (
        "import json, sys, alignery\n"
        "try: alignery.main()\n"
        f"finally: print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["recipe", "list"],
        ["adapter", "list"],
        ["demo", "--help"],
        *([command, "--help"] for command in alignery.COMMANDS if command != "demo"),
    ],
    ids=" ".join,
)
def test_looking_around_imports_nothing_heavy(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == []


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(alignery.app, ["--help"])
    assert all(command in result.stdout for command in alignery.COMMANDS)


def test_version() -> None:
    result = CliRunner().invoke(alignery.app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("alignery ")


def test_a_mistyped_command_is_answered_with_the_near_one() -> None:
    result = CliRunner().invoke(alignery.app, ["recip"])
    assert result.exit_code == 2
    assert "Did you mean 'recipe'?" in result.stderr


def test_an_expected_failure_is_one_line_and_exit_code_2() -> None:
    result = CliRunner().invoke(alignery.app, ["recipe", "show", "nothing-here"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: no recipe 'nothing-here'")
    assert result.stderr.count("\n") == 1


def test_debug_shows_the_traceback() -> None:
    result = CliRunner().invoke(alignery.app, ["--debug", "recipe", "show", "nothing-here"])
    assert isinstance(result.exception, RecipeError)


def test_ctrl_c_stops_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("align.commands.recipes.load_recipe", interrupted)
    result = CliRunner().invoke(alignery.app, ["recipe", "show", "tutorial"])
    assert result.exit_code == 130
    assert result.stderr == "stopped\n"
