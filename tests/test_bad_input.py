"""Wrong input as a person meets it: one message that helps, no traceback, nothing half-written."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import alignery
from align.errors import AligneryError
from align.recipe import load_recipe, parse_recipe

SMOKE = "arithmetic-smoke"
PROGRAM = "import alignery; alignery.main()"
TAKES_RECIPES = (["recipe", "validate"], ["sweep", "run"])

#: Case: the change to a recipe, and what the message must say: the field, what is allowed.
WRONG_RECIPES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an unknown field": (
        {"stages.sft.max_step": 4},
        ["unknown field 'stages.sft.max_step'", "did you mean 'max_steps'?"],
    ),
    "an unknown field without a near one": (
        {"evaluation.zzz": 4},
        ["unknown field 'evaluation.zzz'", "allowed: max_new_tokens"],
    ),
    "a wrong type": (
        {"stages.sft.max_steps": "many"},
        ["stages.sft.max_steps: expected a whole number from 1 on", "got 'many'"],
    ),
    "a wrong type in a searched field": (
        {"stages.sft.learning_rate": "fast"},
        ["stages.sft.learning_rate: expected a number above 0", "search space", "got 'fast'"],
    ),
    "a choice of nothing": (
        {"stages.sft.lora.r": {"choice": []}},
        ["stages.sft.lora.r: empty search space", "at least one value"],
    ),
    "an interval with nothing in it": (
        {"stages.sft.learning_rate": {"loguniform": [1e-2, 1e-4]}},
        ["stages.sft.learning_rate: empty search space: loguniform [0.01, 0.0001]"],
    ),
    "an unknown sampler": (
        {"stages.sft.sweep.sampler": "tpee"},
        ["stages.sft.sweep.sampler", "'tpee'", "did you mean 'tpe'"],
    ),
    "an unknown pruner": (
        {"stages.sft.sweep.pruner": "hyperbend"},
        ["stages.sft.sweep.pruner", "'hyperbend'", "did you mean 'hyperband'"],
    ),
    "a field of another method": (
        {"stages.reward.packing": True},
        ["stages.reward.packing: 'packing' is a field of sft; reward has none"],
    ),
    "a misspelt field of TRL's": (
        {"stages.dpo.label_smothing": 0.1},
        ["unknown field 'stages.dpo.label_smothing'", "did you mean 'label_smoothing'?"],
    ),
    "a field that Alignery decides": (
        {"stages.grpo.use_vllm": True},
        ["stages.grpo.use_vllm: a recipe does not set this", "engine writes the completions"],
    ),
    "LoRA that does not compose": (
        {"stages.sft.lora.use_dora": True},
        ["stages.sft.lora: use_dora=True does not compose", "not a sum of deltas"],
    ),
    "ranks that no bank holds": (
        {"stages.dpo.lora.r": 125},
        ["sft 8 + dpo 125 makes 133", "at most 128 are served"],
    ),
    "an adapter's name that is none": (
        {"stages.grpo.reward_model": "reward@"},
        ["stages.grpo.reward_model: 'reward@' is no adapter's name", "<recipe>/<stage>@<alias>"],
    ),
    "parents in a circle": (
        {"stages.sft.parent": "dpo"},
        ["stages.sft.parent", "sft -> dpo -> sft", "must start from base"],
    ),
    "a circle through a reward model": (
        {"stages.sft.reward_model": "reward"},
        ["stages.sft.reward_model", "sft -> reward -> sft"],
    ),
}


@pytest.fixture
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory in which a command that starts Ray has failed."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("Ray was started before the input was looked at")

    monkeypatch.setattr("cluster.ray.ray_session", started)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    yield work
    assert written(home) == []


def written(home: Path) -> list[str]:
    """What lies in the home folder besides base models."""
    return sorted(one.name for one in home.iterdir() if one.name != "models")


def recipe_file(folder: Path, changes: dict[str, Any]) -> str:
    """The smoke recipe with fields changed, by dotted path."""
    raw = yaml.safe_load(
        (Path(alignery.__file__).parent / f"align/recipes/{SMOKE}.yaml").read_text()
    )
    for path, value in changes.items():
        *blocks, last = path.split(".")
        block = raw
        for name in blocks:
            block = block[name]
        block[last] = value
    (folder / "mine.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return "mine.yaml"


def data_file(folder: Path, *columns: str) -> dict[str, Any]:
    """The change of a recipe to a file with these columns and enough rows."""
    rows = [{column: f"{column} {number}" for column in columns} for number in range(80)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {"data": {"path": "rows.jsonl", "train": 32, "validation": 8, "test": 16}}


def refused(*arguments: str) -> str:
    """The one line that a command says when it does not do what it was asked."""
    result = CliRunner().invoke(alignery.app, list(arguments))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    debug = CliRunner().invoke(alignery.app, ["--debug", *arguments])
    assert isinstance(debug.exception, AligneryError)
    return result.stderr


@pytest.mark.parametrize("command", TAKES_RECIPES, ids=" ".join)
@pytest.mark.parametrize("case", WRONG_RECIPES)
def test_a_wrong_recipe(folder: Path, command: list[str], case: str) -> None:
    changes, words = WRONG_RECIPES[case]
    message = refused(*command, recipe_file(folder, changes))
    assert message.startswith("error: mine.yaml: ")
    assert all(one in message for one in words), message


@pytest.mark.parametrize("command", TAKES_RECIPES, ids=" ".join)
def test_a_recipe_that_is_not_there(folder: Path, command: list[str]) -> None:
    message = refused(*command, "arithmetc")
    assert "no recipe 'arithmetc'" in message
    assert SMOKE in message


@pytest.mark.parametrize("command", TAKES_RECIPES, ids=" ".join)
def test_a_missing_column(folder: Path, command: list[str]) -> None:
    file = recipe_file(folder, data_file(folder, "question", "completion"))
    message = refused(*command, file)
    assert f"data.path: {folder / 'rows.jsonl'}: sft needs the columns" in message
    assert "prompt + completion or messages; found completion, question" in message
    assert "correct the file" in message


@pytest.mark.parametrize("command", TAKES_RECIPES, ids=" ".join)
def test_a_missing_column_of_a_later_stage(folder: Path, command: list[str]) -> None:
    data = data_file(folder, "prompt", "chosen")["data"]
    file = recipe_file(folder, {"stages.dpo.data": data})
    message = refused(*command, file)
    assert "stages.dpo.data.path: " in message
    assert "dpo needs the columns chosen + rejected; found chosen, prompt" in message


@pytest.mark.parametrize("command", TAKES_RECIPES, ids=" ".join)
def test_answers_that_an_objective_needs(folder: Path, command: list[str]) -> None:
    stage = load_recipe(SMOKE).stages["sft"].model_dump(mode="json", exclude_none=True)
    changes = {"stages": {"sft": stage}, **data_file(folder, "prompt", "completion")}
    message = refused(*command, recipe_file(folder, changes))
    assert "stages.sft.objective: 'accuracy' needs answers" in message
    assert "add a column 'answer' to data.path" in message
    assert "another objective: nll" in message


@pytest.mark.parametrize("command", TAKES_RECIPES, ids=" ".join)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"path": "nowhere.jsonl"}, ["data.path: ", "nowhere.jsonl: no such file"]),
        ({"path": "rows.jsonl", "train": 5000}, ["data.path: ", "80 rows", "lower these numbers"]),
        ({"path": "mine.yaml"}, ["data.path: ", "allowed: .jsonl, .json, .csv, .parquet"]),
    ],
    ids=["no file", "too few rows", "not a data file"],
)
def test_data_that_cannot_be_used(
    folder: Path, command: list[str], data: dict[str, Any], words: list[str]
) -> None:
    data_file(folder, "prompt", "completion")
    message = refused(*command, recipe_file(folder, {"data": data}))
    assert all(one in message for one in words), message


@pytest.mark.parametrize("command", TAKES_RECIPES, ids=" ".join)
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", ["no rows; test 16 + validation 8 + train 32 = 56 are needed"]),
        ('{"prompt": "p", "completion": "c"}', ["1 row is too few", "at least 3 prompts"]),
        ('{"prompt": "p", "completion": "c"}\n{"prompt": "q"}', ["row 2: ", "'completion'"]),
        (
            '{"prompt": "p", "completion": [{"role": "x"}]}',
            ["row 1: column 'completion' holds a message with an unknown role"],
        ),
    ],
    ids=["empty", "one row", "a column missing", "no messages"],
)
def test_rows_that_cannot_be_used(
    folder: Path, command: list[str], rows: str, words: list[str]
) -> None:
    data = data_file(folder, "prompt", "completion")
    (folder / "rows.jsonl").write_text(rows)
    message = refused(*command, recipe_file(folder, data))
    assert message.startswith(f"error: data.path: {folder / 'rows.jsonl'}: ")
    assert all(one in message for one in words), message


@pytest.mark.parametrize("command", TAKES_RECIPES, ids=" ".join)
def test_held_out_prompts_that_a_parent_trains_on(folder: Path, command: list[str]) -> None:
    columns = ("prompt", "completion", "chosen", "rejected", "answer")
    data = data_file(folder, *columns)["data"]
    changes = {"data": data, "stages.dpo.data": {**data, "test": 20}}
    message = refused(*command, recipe_file(folder, changes))
    assert "stages.dpo: " in message
    assert "would be trained on by stage 'sft', which dpo builds on; the first: 'prompt " in message
    assert "Give both stages the same data" in message


def test_a_dataset_that_cannot_be_reached(folder: Path) -> None:
    file = recipe_file(folder, {"data": {"dataset": "nobody/nothing"}})
    message = refused("sweep", "run", file)
    assert "data.dataset: dataset 'nobody/nothing' (split 'train') cannot be read" in message


@pytest.mark.parametrize("command", TAKES_RECIPES, ids=" ".join)
def test_a_base_whose_folder_is_not_there(folder: Path, command: list[str]) -> None:
    message = refused(*command, recipe_file(folder, {"base": "./nowhere"}))
    assert "base './nowhere': no such folder" in message
    assert "smollm2-135m-instruct, tiny-random, a local folder" in message


def test_a_new_recipe_on_a_base_that_is_not_there(folder: Path) -> None:
    data_file(folder, "prompt", "completion")
    message = refused("recipe", "new", "--from", "rows.jsonl", "--base", "./nowhere")
    assert "base './nowhere': no such folder" in message
    assert not (folder / "rows.yaml").exists()


@pytest.mark.parametrize("command", TAKES_RECIPES, ids=" ".join)
def test_a_base_whose_folder_holds_no_model(folder: Path, command: list[str]) -> None:
    message = refused(*command, recipe_file(folder, {"base": "."}))
    assert "base '.': no config.json in this folder" in message


@pytest.mark.parametrize("command", [["sweep", "run"], ["serve", "run", "--base"]], ids=" ".join)
def test_a_model_that_cannot_be_reached(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    base = "nobody/nothing"
    last = base if "serve" in command else recipe_file(folder, {"base": base})
    message = refused(*command, last)
    assert "base 'nobody/nothing' cannot be reached: it is not in the local cache" in message
    assert "HF_HUB_OFFLINE" in message
    assert "reachable on the hub or in its local cache" in message

    def no_network(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known\nand more of it")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", no_network)
    message = refused(*command, last)
    assert (
        "base 'nobody/nothing' cannot be reached: Name or service not known. Allowed: " in message
    )


def test_what_is_on_a_hub_is_not_asked_for_by_validate(folder: Path) -> None:
    changes = {"base": "nobody/nothing", "data": {"dataset": "nobody/nothing"}}
    file = recipe_file(folder, changes)
    result = CliRunner().invoke(alignery.app, ["recipe", "validate", file])
    assert result.exit_code == 0
    assert "nobody/nothing (the hub was not asked for it)" in result.stdout
    assert "of nobody/nothing, not read" in result.stdout


@pytest.mark.parametrize("command", [["serve", "run"], ["demo"]], ids=" ".join)
def test_a_port_in_use(folder: Path, command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        message = refused(*command, "--port", port)
    assert f"port {port} on 127.0.0.1 is in use" in message
    assert "choose another with --port" in message


def test_a_stage_whose_parent_was_never_searched(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.ray.ray_session", None)  # nobody gets as far as calling it
    message = refused("sweep", "run", SMOKE, "--only", "sft", "--only", "grpo")
    assert "line arithmetic-smoke/dpo has no adapter yet" in message
    assert f"`alignery sweep run {SMOKE} --only dpo`" in message
    assert not (home / "storage").exists()


def test_an_adapter_that_was_never_registered(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.ray.ray_session", None)  # nobody gets as far as calling it
    monkeypatch.chdir(tmp_path)
    changes = {"stages.grpo.reward_model": "other/reward@champion"}
    message = refused("sweep", "run", recipe_file(tmp_path, changes))
    assert "stages.grpo.reward_model: there is no adapter 'other/reward@champion'" in message
    assert "`alignery adapter list` shows all" in message
    assert not (home / "storage").exists()


def test_a_second_driver_of_the_same_sweep(home: Path) -> None:
    from cluster.database import open_database
    from cluster.settings import Settings
    from sweeps.run_store import launches
    from sweeps.study.storage import read_trials
    from sweeps.study_lock import StudyLock
    from sweeps.sweep_store import RUNNING, Search, begin, read

    settings = Settings()
    database = open_database(settings)
    row = begin(database, Search(load_recipe(SMOKE), "sft"))
    lock = StudyLock(settings, database, row.study)
    try:
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM, "sweep", "run", SMOKE, "--only", "sft", "--json"],
            capture_output=True,
            text=True,
            timeout=400,
        )
    finally:
        lock.release()
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    message = result.stderr.strip()
    assert message.startswith(
        f"error: sweep {row.study} is already driven by process {os.getpid()}"
    )
    assert f"`alignery sweep status {SMOKE}/sft`" in message
    assert "\n" not in message
    assert read(database, row.id).state == RUNNING  # the first driver's, as it was
    assert launches(database) == []
    assert read_trials(settings, row.study) == []
    assert not (home / "storage").exists()


def test_the_circle_is_named_without_what_hangs_on_it() -> None:
    raw = load_recipe(SMOKE).model_dump(mode="json", exclude_none=True)
    raw["stages"]["dpo"]["parent"] = "grpo"
    with pytest.raises(ValueError, match=r"dpo -> grpo -> dpo") as caught:
        parse_recipe(raw)
    assert "sft" not in str(caught.value)
