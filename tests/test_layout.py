"""Tests mirror the packages: where a test file stands, and its name, say what it tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
PACKAGES = ("align", "cluster", "serve", "sweeps")
FILES = sorted(TESTS.rglob("test_*.py"))
CHAOS = "chaos"
#: Files that are named after a behaviour of several modules, by folder. Every other file is named
#: after the module or package that it tests.
BEHAVIOURS = {
    "align": "scaffold_preferences",
    "align/chaos": "engine_soak learning rollouts",
    "align/data": "data_docs",
    "align/inference": (
        "device_discipline engine_failures engine_refusals engine_requests engine_soak"
    ),
    "align/inference/kernels": "plain_on_meta",
    "align/inference/scheduling": "scheduler_properties",
    "align/recipe": "constraints recipe_docs",
    "align/training": "device_discipline packing warm_worker",
    "serve": "readme_examples",
    "serve/chaos": "database_away replicas schemas soak",
    "serve/experiments": "sequential_statistics",
    "sweeps/chaos": "kills pool_nodes simulated_pool study_unbroken",
    "sweeps/study": "study_contract study_session_decisions study_unbroken",
}
#: Its only chaos test continues the run that its other tests look at.
MIXED = {"tests/test_end_to_end.py"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def marks_chaos(path: Path) -> bool:
    """Whether `pytest.mark.chaos` is used in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return any(
        isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.chaos"
        for node in ast.walk(tree)
    )


def is_module(path: Path) -> bool:
    """Whether `path` is a module or a package, without its suffix."""
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def mirrored(package: str) -> Iterator[tuple[Path, str]]:
    """The test files of a package: the folder below `tests`, and the name without `test_`."""
    for path in sorted((TESTS / package).rglob("test_*.py")):
        yield path.parent.relative_to(TESTS), path.stem.removeprefix("test_")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_folder_of_tests_is_that_of_a_package(package: str) -> None:
    folders = {folder for folder, _ in mirrored(package)} - {Path(package, CHAOS)}
    assert not [str(folder) for folder in folders if not is_module(ROOT / folder)]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_file_is_named_after_what_it_tests(package: str) -> None:
    named = [
        (folder, stem)
        for folder, stem in mirrored(package)
        if not is_module(ROOT / str(folder).removesuffix(f"/{CHAOS}") / stem)
    ]
    listed = [
        (Path(folder), stem)
        for folder, stems in BEHAVIOURS.items()
        for stem in stems.split()
        if Path(folder).parts[0] == package
    ]
    assert sorted(named) == sorted(listed)


def test_chaos_tests_stand_apart() -> None:
    apart = {name(path) for path in FILES if path.parent.name == CHAOS}
    assert {name(path) for path in FILES if marks_chaos(path)} == apart | MIXED
