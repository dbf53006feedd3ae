"""Mutation tests of the modules that decide: what `make mutants` runs, see CONTRIBUTING.md.

mutmut changes a module in one place at a time and runs the tests that reach the place. A change
that no test notices is a survivor. `mutants.toml` says which test files belong to a module, and
which survivors need no test.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_suffix(".toml")
#: A folder for each module, in which mutmut works and `mutmut show` and `browse` can be used.
WORK = ROOT / ".mutants"
MUTMUT = Path(sys.executable).with_name("mutmut")
#: The share of a module's mutants that must be killed or explained.
NEEDED = 0.9
#: mutmut's words for mutants that the tests have noticed.
KILLED = {"killed", "timeout"}


@dataclass(frozen=True)
class Change:
    """What a mutant does: lines of one function before and after, with single spaces."""

    function: str
    before: str
    after: str


@dataclass(frozen=True)
class Module:
    """A line of the table: a source file, its test files, and survivors with their reasons."""

    path: str
    tests: tuple[str, ...]
    conftest: bool
    explained: dict[Change, str]

    @property
    def folder(self) -> Path:
        return WORK / self.path.removesuffix(".py").replace("/", ".")


@dataclass(frozen=True)
class Outcome:
    """What the tests made of a module's mutants: how many there are, and the survivors."""

    module: Module
    total: int
    survivors: tuple[tuple[str, Change], ...]
    seconds: float = 0.0

    @property
    def unexplained(self) -> list[tuple[str, Change]]:
        return [one for one in self.survivors if one[1] not in self.module.explained]

    @property
    def outdated(self) -> list[Change]:
        """Explanations of mutants that did not survive, or no longer exist."""
        survived = {change for _, change in self.survivors}
        return [change for change in self.module.explained if change not in survived]

    @property
    def share(self) -> float:
        """Of the mutants, those that were killed or are explained."""
        return 1 - len(self.unexplained) / self.total if self.total else 0.0

    @property
    def passed(self) -> bool:
        return self.share >= NEEDED and not self.outdated

    def report(self) -> str:
        killed = self.total - len(self.survivors)
        explained = len(self.survivors) - len(self.unexplained)
        head = f"{self.module.path}: {killed} of {self.total} mutants killed, {explained} explained"
        lines = [f"{head}: {self.share:.1%}, {self.seconds:.0f} s"]
        for name, change in self.unexplained:
            lines += [f"  survived: {change.function} ({name})", *_shown(change)]
        for change in self.outdated:
            lines += [f"  explained, but no survivor: {change.function}", *_shown(change)]
        return "\n".join(lines)


def _shown(change: Change) -> list[str]:
    return [f"    - {change.before}", f"    + {change.after}"]


def read_table(text: str) -> list[Module]:
    """The modules of a table, in its order. ValueError if a reason is missing."""
    modules = []
    for path, entry in tomllib.loads(text).items():
        explained = {}
        for one in entry.get("explained", []):
            change = Change(one["function"], _joined([one["before"]]), _joined([one["after"]]))
            if not one.get("reason"):
                raise ValueError(f"{path}: {change} has no reason")
            explained[change] = one["reason"]
        conftest = bool(entry.get("conftest", False))
        modules.append(Module(path, tuple(entry["tests"]), conftest, explained))
    return modules


def read_diff(name: str, diff: str) -> Change:
    """What `mutmut show` prints of a mutant, such as `a.b.xǁClassǁmethod__mutmut_3`."""
    function = name.rpartition(".")[2].partition("__mutmut_")[0]
    function = function.removeprefix("xǁ").replace("ǁ", ".").removeprefix("x_")
    lines = diff.partition("\n@@")[2].splitlines()[1:]
    return Change(
        function,
        _joined(line[1:] for line in lines if line.startswith("-")),
        _joined(line[1:] for line in lines if line.startswith("+")),
    )


def read_results(text: str) -> dict[str, str]:
    """Names of mutants and what became of each, from what `mutmut results` prints."""
    pairs = (line.strip().rpartition(": ") for line in text.splitlines() if line.strip())
    return {name: status for name, _, status in pairs}


def _joined(lines: Iterable[str]) -> str:
    return " ".join(" ".join(lines).split())


def prepare(module: Module) -> None:
    """An empty work folder: links to the sources, and mutmut's options for this module alone."""
    shutil.rmtree(module.folder, ignore_errors=True)
    (module.folder / "tmp").mkdir(parents=True)
    config = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    options = tomllib.loads(config)["tool"]["mutmut"]
    for name in [*options["source_paths"], *options.get("also_copy", []), "tests"]:
        (module.folder / name).symlink_to(ROOT / name)
    # Arrays of plain strings are written alike in Python and in TOML.
    own = (
        f"[tool.mutmut]\nonly_mutate = {[module.path]}\n"
        f"pytest_add_cli_args_test_selection = {list(module.tests)}\n"
    )
    config = config.replace("[tool.mutmut]\n", own)
    (module.folder / "pyproject.toml").write_text(config, encoding="utf-8")


def mutmut(module: Module, *arguments: str) -> str:
    """What mutmut prints. Exits with all of it if mutmut fails."""
    # Processes of mutmut end without cleaning up, so their temporary folders are its own.
    environment = {**os.environ, "TMPDIR": str(module.folder / "tmp"), "OMP_NUM_THREADS": "1"}
    if not module.conftest:
        # Tests of plain decisions import no torch without it.
        environment["PYTEST_ADDOPTS"] = "--noconftest"
    done = subprocess.run(
        [MUTMUT, *arguments],
        cwd=module.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nerror: mutmut {' '.join(arguments)} failed for {module.path}")
    return done.stdout


def test(module: Module, processes: int) -> Outcome:
    """Make all mutants of a module, and run its tests against each."""
    start = time.monotonic()
    prepare(module)
    mutmut(module, "run", "--max-children", str(processes))
    shutil.rmtree(module.folder / "tmp")
    (module.folder / "tmp").mkdir()
    results = read_results(mutmut(module, "results", "--all", "true"))
    survivors = [name for name, status in results.items() if status not in KILLED]
    changes = [(name, read_diff(name, mutmut(module, "show", name))) for name in survivors]
    return Outcome(module, len(results), tuple(changes), time.monotonic() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    modules = {one.path: one for one in read_table(TABLE.read_text(encoding="utf-8"))}
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="source files; all if none")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(arguments)
    if unknown := set(asked.modules) - set(modules):
        parser.error(f"{', '.join(sorted(unknown))}: not in {TABLE.relative_to(ROOT)}")
    failed = []
    for path in asked.modules or modules:
        outcome = test(modules[path], asked.processes)
        print(outcome.report(), flush=True)
        failed += [] if outcome.passed else [path]
    if failed:
        sys.exit(f"below {NEEDED:.0%}, or with outdated explanations: {', '.join(failed)}")


if __name__ == "__main__":
    main()
