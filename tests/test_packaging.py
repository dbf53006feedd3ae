"""What pyproject.toml says of the packages fits the tree."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DATA: dict[str, list[str]] = PROJECT["tool"]["setuptools"]["package-data"]


@pytest.mark.parametrize("package", ["align", "cluster", "sweeps", "serve"])
def test_a_package_says_that_it_is_typed(package: str) -> None:
    """The marker of PEP 561 is there, and is part of the wheel."""
    assert resources.files(package).joinpath("py.typed").is_file()
    assert "py.typed" in DATA[package]


@pytest.mark.parametrize(
    ("package", "pattern"), [(package, one) for package, every in DATA.items() for one in every]
)
def test_package_data_names_files_that_exist(package: str, pattern: str) -> None:
    assert list((ROOT / package).glob(pattern))
