"""The README's commands exist with the options that it gives them, and its Python compiles."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import alignery

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
SHELL = ("", "sh", "bash", "shell", "console", "text")


def commands() -> list[str]:
    """Lines of code blocks that call `alignery`, prompts and comments taken off."""
    found = []
    for language, block in BLOCKS:
        if language in SHELL:
            for line in block.replace("\\\n", " ").splitlines():
                line = re.sub(r"^\s*\$\s+", "", line)
                if re.match(r"(\.venv/bin/)?alignery( |$)", line):
                    found.append(line)
    return found


def words(line: str) -> list[str]:
    """The command's words after `alignery`, up to a pipe, a redirection or another command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    result: list[str] = []
    for word in lexer:
        if re.fullmatch(r"[|&;<>()]+", word):
            break
        result.append(word)
    return result[1:]


def resolve(arguments: list[str]) -> None:
    """Parse the words as the program would, without running the command."""
    command: Any = typer.main.get_command(alignery.app)
    context = command.make_context("alignery", list(arguments))
    while hasattr(command, "resolve_command") and (rest := context._protected_args + context.args):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_exists(line: str) -> None:
    try:
        resolve(words(line))
    except typer.Exit as stopped:  # --help, --version
        assert stopped.exit_code == 0


@pytest.mark.parametrize("code", [block for language, block in BLOCKS if language == "python"])
def test_the_readmes_python_compiles(code: str) -> None:
    compile(code, "README.md", "exec")


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    named = {
        target
        for _, block in BLOCKS
        for target in re.findall(r"^\s*(?:\$ )?make ([a-z]+)", block, flags=re.MULTILINE)
    }
    assert {"demo", "test"} <= named <= targets
