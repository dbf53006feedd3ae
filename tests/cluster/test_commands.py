import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.commands import adapter_app, cluster_app
from cluster.errors import AdapterNotFound, PromotionConflict
from cluster.registry import open_registry
from cluster.settings import Settings

MakeAdapter = Callable[..., Path]
LINE = "arithmetic/sft"


def run(*words: str) -> str:
    """Standard output of `alignery adapter …`; errors come out as they are."""
    result = CliRunner().invoke(adapter_app, words, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def run_json(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


@pytest.fixture
def two(make_adapter: MakeAdapter) -> list[str]:
    folders = [make_adapter(seed, metrics={"accuracy": seed / 10}) for seed in (1, 2)]
    return [run_json("register", LINE, str(folder))["id"] for folder in folders]


def test_a_version_goes_through_its_life(two: list[str]) -> None:
    assert run("promote", f"{LINE}:1") == "arithmetic/sft@champion is arithmetic/sft:1\n"
    assert "(was :1)" in run("promote", f"{LINE}:2", "--expected", two[0][:8], "--reason", "better")
    assert [one["aliases"] for one in run_json("list")] == [[], ["champion"]]
    assert run_json("rollback", LINE, "--reason", "worse")["to_id"] == two[0]
    history = run_json("history", LINE)
    assert [one["reason"] for one in history] == ["worse", "better", ""]
    assert history[0]["at"].endswith("+00:00")


def test_tables_for_people(two: list[str]) -> None:
    run("promote", f"{LINE}:1", "--reason", "[bold] is no markup")
    table = run("list")
    assert f"{LINE}:1" in table and "@champion" in table and two[1][:12] in table
    assert "[bold] is no markup" in " ".join(run("history", LINE).split())
    assert "accuracy" in run("show", LINE) and two[0][:12] in run("show", LINE)


def test_show_gives_everything(two: list[str]) -> None:
    shown = run_json("show", f"{LINE}:2")
    assert shown["manifest"]["metrics"] == shown["metrics"] == {"accuracy": 0.2}
    assert (Path(shown["folder"]) / "adapter_model.safetensors").is_file()


def test_no_adapters_yet() -> None:
    assert run("list") == ""
    assert run_json("list") == []


def test_expected_none_is_for_new_aliases(two: list[str]) -> None:
    run("promote", f"{LINE}:1", "--expected", "none", "--alias", "candidate")
    with pytest.raises(PromotionConflict):
        run("promote", f"{LINE}:2", "--expected", "none", "--alias", "candidate")
    with pytest.raises(PromotionConflict):
        run("promote", f"{LINE}:2", "--expected", two[1], "--alias", "candidate")


@pytest.mark.parametrize("words", [["list", "aritmetic/sft"], ["history", "aritmetic/sft"]])
def test_a_line_that_is_not_there(two: list[str], words: list[str]) -> None:
    with pytest.raises(AdapterNotFound, match="did you mean arithmetic/sft"):
        run(*words)


def test_listing_adapters_imports_neither_torch_nor_ray(two: list[str], home: Path) -> None:
    script = (
        "import sys; from cluster.commands import adapter_app, cluster_app\n"
        "adapter_app(['list', '--json'], standalone_mode=False)\n"
        "heavy = {'torch', 'ray', 'transformers', 'peft', 'trl', 'pyarrow'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"ALIGNERY_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stderr.strip() == "[]"
    assert [one["id"] for one in json.loads(done.stdout)] == two


def test_check_reports_what_has_a_problem_and_tries_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALIGNERY_STORAGE", str(tmp_path / "file" / "store"))
    monkeypatch.setenv("ALIGNERY_RAY_ADDRESS", "127.0.0.1:1")
    result = CliRunner().invoke(cluster_app, ["check", "--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and report["ok"] is False
    states = {one["name"]: one["ok"] for one in report["checks"]}
    assert states == {"home": True, "database": True, "storage": False, "ray": False}
    assert "ALIGNERY_STORAGE" in report["checks"][2]["detail"]
    assert "127.0.0.1:1" in report["checks"][3]["detail"]


def test_check_with_everything_in_order(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    result = CliRunner().invoke(cluster_app, ["check"])
    assert result.exit_code == 0, result.output
    assert "problem" not in result.stdout and str(home) in result.stdout
    assert open_registry(Settings()).versions() == []
    assert not list((home / "storage").rglob("probe"))
