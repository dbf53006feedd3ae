"""What every command shares: help, errors in one line, and a quick start."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

import alignery
from align.errors import RecipeError
from tests.waiting import wait_until

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


def test_the_module_is_the_program() -> None:
    program = [sys.executable, "-m", "alignery", "--version"]
    ended = subprocess.run(program, capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout.startswith("alignery ")


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


#: The program with a command that starts a process and waits, as long commands do.
WAITING = """
import subprocess, sys, types, alignery
def wait():
    child = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        print(child.pid, flush=True)
        child.wait()
    finally:
        child.kill()
        child.wait()
        print("cleaned up", flush=True)
sys.modules["waiting"] = types.SimpleNamespace(wait=wait)
alignery.COMMANDS["demo"] = alignery.COMMANDS["demo"]._replace(module="waiting", name="wait")
alignery.main()
"""


def waiting(prefix: str, output: Path) -> psutil.Process:
    """The waiting program, started by a script in its background, after `prefix`."""
    file = output.with_name("waiting.py")
    file.write_text(WAITING)
    output.touch()  # the script in the background has not made it yet when `sh` ends
    command = shlex.join([sys.executable, str(file), "demo"])
    script = f"( {prefix} {command}; echo code $? ) >{shlex.quote(str(output))} 2>&1 &"
    subprocess.run(["sh", "-c", script], timeout=60, check=True)
    child = wait_until(lambda: re.findall(r"^\d+$", output.read_text(), re.MULTILINE))
    program = psutil.Process(int(child[0])).parent()
    assert program is not None
    return program


def ended(output: Path) -> list[str]:
    """What the program said at its end, and its exit code."""
    lines = wait_until(lambda: "code" in output.read_text() and output.read_text().splitlines())
    (child,) = (line for line in lines if line.isdigit())
    assert not psutil.pid_exists(int(child))
    return list(lines[lines.index(child) + 1 :])


@pytest.fixture
def ends_with_its_terminal() -> Iterator[None]:
    """The end of a terminal is ignored below `nohup`, also by what runs the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("ends_with_its_terminal")
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGINT, ["cleaned up", "stopped", "code 130"]),
        (signal.SIGTERM, ["cleaned up", "code 143"]),
        (signal.SIGHUP, ["cleaned up", "code 129"]),
    ],
)
def test_a_command_in_a_scripts_background_ends_by_a_signal_and_leaves_no_process(
    number: signal.Signals, said: list[str], tmp_path: Path
) -> None:
    waiting("", tmp_path / "output").send_signal(number)
    assert ended(tmp_path / "output") == said


@pytest.mark.usefixtures("ends_with_its_terminal")
def test_a_command_below_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    program = waiting("nohup", tmp_path / "output")
    program.send_signal(signal.SIGHUP)
    program.terminate()
    assert ended(tmp_path / "output") == ["cleaned up", "code 143"]
