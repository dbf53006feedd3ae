"""What the previous version wrote still opens, and its searches go on."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import alignery
from align.adapters import adapter_id
from align.inference import GenerationRequest, load_engine

FIXTURE = Path(__file__).parent / "fixtures" / "previous_version"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(FIXTURE / "home.tar.xz") as archive:
        archive.extractall(tmp_path / "home", filter="data")
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def read(name: str) -> Any:
    return json.loads((FIXTURE / name).read_text(encoding="utf-8"))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(alignery.app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_recipe_is_valid(home: Path) -> None:
    assert "before on tiny-random" in run("recipe", "validate", str(home / "before.yaml"))


def test_adapters_are_listed_as_they_were(home: Path) -> None:
    assert json.loads(run("adapter", "list", "--json")) == read("adapters.json")


def test_a_search_has_the_status_that_it_had(home: Path) -> None:
    status = json.loads(run("sweep", "status", "before/sft", "--json"))
    for sweep in status["sweeps"]:  # without what is new since then
        assert sweep.pop("remarks") == [] and sweep.pop("stopped_early") is None
        assert sweep.pop("next_trial") is None
        assert sweep.pop("answer")["over_default"]["trial"] == sweep["best_trial"]
        origins = [trial.pop("origin") for trial in sweep["trials"]]
        assert origins == ["default", "sampler"] and sweep["best"].pop("origin") == "sampler"
    assert status == read("status.json")


def test_keys_and_experiments_are_there(home: Path) -> None:
    assert "team" in run("serve", "key", "list")
    assert "tone" in run("ab", "list")
    report = json.loads(run("ab", "report", "tone", "--json"))
    assert "before/dpo:1" in json.dumps(report)


def test_adapters_have_the_ids_that_they_had_and_answer(home: Path) -> None:
    engine = load_engine("tiny-random")
    for adapter in read("adapters.json"):
        folder = home / "storage" / "adapters" / adapter["id"]
        assert adapter_id(folder) == adapter["id"]
        engine.load(adapter["name"], folder)
        request = GenerationRequest([5, 6, 7], adapter["name"], 4, ignore_eos=True)
        assert len(engine.generate([request])[0].token_ids) == 4


def test_a_finished_search_takes_one_trial_more(home: Path) -> None:
    program = [sys.executable, "-c", "import alignery; alignery.main()"]
    ended = subprocess.run(
        [*program, "sweep", "resume", "before/dpo", "--add", "1"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "before/dpo:2" in ended.stdout or "of 3" in ended.stdout, ended.stdout
    status = json.loads(run("sweep", "status", "before/dpo", "--json"))
    assert len(status["sweeps"][-1]["trials"]) == 3
