"""Which cards have passed the check, and when a command names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.errors import StorageError
from cluster.gpu_checks import hint, is_of_type, passed_cards, share_check
from cluster.settings import Settings
from cluster.storage import Storage


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", storage=str(tmp_path / "storage"))


def result(settings: Settings, card: str, verdict: str = "PASS") -> Path:
    """The file that the check leaves in the home."""
    file = settings.home / "gpu-check" / f"{card}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"verdict": verdict, "checks": []}), encoding="utf-8")
    return file


def test_a_result_in_the_home_counts_if_nothing_failed(settings: Settings) -> None:
    result(settings, "T4")
    result(settings, "L4", "FAIL")
    assert passed_cards(settings) == {"T4"}


def test_a_result_in_storage_is_known_to_other_machines(settings: Settings, tmp_path: Path) -> None:
    share_check(settings, result(settings, "T4", "FAIL"))
    other = Settings(home=tmp_path / "other", storage=settings.storage)
    assert passed_cards(other) == set()
    share_check(settings, result(settings, "T4"))  # mended, and checked again
    assert passed_cards(other) == {"T4"}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"verdict": 3}', "null"])
def test_a_damaged_result_is_none(settings: Settings, text: str) -> None:
    result(settings, "T4").write_text(text, encoding="utf-8")
    assert passed_cards(settings) == set()


@pytest.mark.parametrize(
    ("card", "accelerator", "same"),
    [
        ("T4", "T4", True),
        ("T4", None, True),
        ("cpu", None, False),
        ("L4", "L40S", False),
        ("A100-40", "A100", True),
        ("A100-40", "A100-40G", True),
        ("A100-80", "A100-40G", False),
        ("H100-as-T4", "H100", False),
        ("H100-as-T4", None, False),
    ],
)
def test_cards_by_rays_names(card: str, accelerator: str | None, same: bool) -> None:
    assert is_of_type(card, accelerator) is same


def test_the_check_is_named_until_it_has_passed_on_such_a_card(settings: Settings) -> None:
    result(settings, "L4")
    assert hint(settings, "T4").startswith("`alignery gpu check` has never passed on T4 here: ")
    assert hint(settings, None) == ""
    result(settings, "T4", "FAIL")
    assert hint(settings, "T4")
    result(settings, "T4")
    assert hint(settings, "T4") == ""


def test_where_storage_cannot_be_read_nothing_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[str]:
        raise StorageError("cannot list")

    monkeypatch.setattr(Storage, "keys", fail)
    assert hint(settings, "T4") == ""
