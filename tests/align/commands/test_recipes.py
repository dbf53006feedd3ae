"""`alignery recipe …` as a person types it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from align.recipe import load_recipe, parse_recipe
from alignery import app


def recipe(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["recipe", *arguments])


def printed(*arguments: str) -> Any:
    """A command's JSON: stdout holds nothing else."""
    result = recipe(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    rows = [{"prompt": f"{n} + 1 =", "completion": f"{n + 1}", "id": n} for n in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_list_names_the_shipped_recipes() -> None:
    assert "tutorial" in recipe("list").stdout
    tutorial = next(one for one in printed("list") if one["name"] == "tutorial")
    assert tutorial["stages"] == ["sft", "reward", "dpo", "grpo"]


def test_show_prints_a_recipe_that_loads_and_its_searches() -> None:
    result = recipe("show", "tutorial")
    assert parse_recipe(yaml.safe_load(result.stdout)) == load_recipe("tutorial")
    assert "# dpo     beta             loguniform 0.01 to 0.5" in result.stdout


def test_show_as_json() -> None:
    shown = printed("show", "tutorial")
    assert parse_recipe(shown["recipe"]) == load_recipe("tutorial")
    sft = shown["stages"][0]
    assert (sft["line"], sft["steps"]) == ("tutorial/sft", 38)
    assert sft["first_trial"] == {"lora.r": 8, "learning_rate": 2e-4}


def test_validate_sums_up_the_stages() -> None:
    result = recipe("validate", "tutorial")
    assert result.exit_code == 0
    assert result.stdout.startswith("ok: tutorial on Qwen/Qwen2.5-0.5B-Instruct")
    assert "dpo + reward" in result.stdout
    assert printed("validate", "tutorial")["stages"][3]["data"] == "200/64/200"


def test_validate_reads_the_data_that_is_at_hand(tmp_path: Path) -> None:
    raw = {
        "name": "mine",
        "base": "tiny-random",
        "data": {"path": "missing.jsonl"},
        "stages": {
            "sft": {"method": "sft", "learning_rate": 1, "max_steps": 1, "objective": "nll"},
        },
    }
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(raw))
    result = recipe("validate", str(file))
    assert result.exit_code == 2
    assert "missing.jsonl" in result.stderr
    assert recipe("validate", str(file), "--no-data").exit_code == 0


def test_validate_says_what_becomes_of_the_rows(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}", "completion": "x" * (200 if n < 5 else 5)} for n in range(1, 31)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = {"method": "sft", "learning_rate": 1e-4, "max_steps": 1, "objective": "nll"}
    raw = {
        "name": "mine",
        "base": "tiny-random",
        "data": {"path": "rows.jsonl", "train": 20, "validation": 4, "test": 4},
        "stages": {"sft": {**stage, "max_length": 96}},
    }
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(raw))
    told = recipe("validate", str(file)).stdout
    assert "sft: 28 of 30 rows of" in told and "are used (train 20, validation 4, test 4)" in told
    assert "of 20 train rows are cut at max_length 96: they lose their end; the longest has" in told
    rows_told = printed("validate", str(file))["stages"][0]["rows"]
    assert rows_told["splits"] == {"train": 20, "validation": 4, "test": 4}
    unused, cut = rows_told["findings"]
    assert unused["count"] == 2 and all(1 <= row["number"] < 5 for row in cut["examples"])


def test_validate_says_that_lengths_on_a_hub_were_not_looked_at(tmp_path: Path) -> None:
    told = recipe("validate", "tutorial").stdout
    assert "grpo: lengths were not looked at: 'Qwen/Qwen2.5-0.5B-Instruct' has no tokenizer" in told


def test_sample_prints_rows_as_json_lines() -> None:
    result = recipe("sample", "tutorial", "--stage", "grpo", "--split", "test", "--count", "2")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == 2
    assert set(rows[0]) == {"prompt", "answer"}
    assert rows == printed(
        "sample", "tutorial", "--stage", "grpo", "--split", "test", "--count", "2"
    )


def test_sample_of_another_seed_has_other_rows() -> None:
    stage = ("sample", "tutorial", "--stage", "grpo")
    assert printed(*stage) == printed(*stage) != printed(*stage, "--seed", "7")


def test_sample_of_an_unknown_stage_lists_the_stages() -> None:
    result = recipe("sample", "tutorial", "--stage", "ppo")
    assert result.exit_code == 2
    assert "no stage 'ppo'; allowed: sft, reward, dpo, grpo" in result.stderr


def test_new_writes_a_recipe_and_says_what_it_found(sums: Path, tmp_path: Path) -> None:
    output = tmp_path / "sums.yaml"
    arguments = ("new", "--from", str(sums), "--base", "tiny-random", "--output", str(output))
    result = recipe(*arguments)
    assert result.exit_code == 0, result.stderr
    assert "30 rows, 30 different prompts; prompt-completion (prompt, completion)" in result.stdout
    assert "it can train: sft" in result.stdout
    assert "columns without a use: id" in result.stdout
    assert load_recipe(output).name == "sums"
    assert recipe("validate", str(output)).exit_code == 0

    again = recipe(*arguments)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert printed(*arguments, "--force")["splits"] == {"train": 23, "validation": 3, "test": 4}


def test_new_writes_nothing_when_the_name_is_wrong(sums: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.yaml"
    result = recipe(
        "new", "--from", str(sums), "--base", "x", "--name", "A B", "--output", str(output)
    )
    assert result.exit_code == 2
    assert "name: a name is lower-case" in result.stderr
    assert not output.exists()


SEARCHED = """
name: cond
base: tiny-random
data: {task: arithmetic, train: 32, validation: 8, test: 8}
stages:
  sft: {method: sft, objective: nll, learning_rate: 2.0e-4, max_steps: 4}
  dpo:
    method: dpo
    parent: sft
    objective: pair_accuracy
    constraints: [length <= 1.2 * parent.length]
    learning_rate: {loguniform: [1.0e-6, 1.0e-4], default: 5.0e-6}
    loss_type: {choice: [sigmoid, ipo, robust]}
    label_smoothing: {uniform: [0.05, 0.3], default: 0.1, when: {loss_type: robust}}
    lora: {target_modules: {choice: [[q_proj, v_proj], all-linear]}}
    max_steps: {int: [8, 12]}
    sweep: {trials: 12, points: [{loss_type: robust, label_smoothing: 0.2}]}
"""


@pytest.fixture
def searched(tmp_path: Path) -> str:
    (tmp_path / "cond.yaml").write_text(SEARCHED)
    return str(tmp_path / "cond.yaml")


def test_conditions_points_and_constraints_are_shown(searched: str) -> None:
    shown = recipe("show", searched).stdout
    assert parse_recipe(yaml.safe_load(shown)) == load_recipe(searched)
    assert "uniform 0.05 to 0.3 where loss_type is robust" in shown
    assert "0.1 (not searched)" in shown and "q_proj,v_proj" in shown
    for told in (shown, recipe("validate", searched).stdout):
        assert "dpo keeps length <= 1.2 * parent.length" in told
        assert "dpo tries as trial 1: loss_type robust, label_smoothing 0.2" in told
    assert "8 to 12" in recipe("validate", searched).stdout


def test_conditions_points_and_constraints_as_json(searched: str) -> None:
    dpo = printed("validate", searched)["stages"][1]
    assert dpo["constraints"] == ["length <= 1.2 * parent.length"]
    assert dpo["points"] == [{"loss_type": "robust", "label_smoothing": 0.2}]
    assert (dpo["fewest_steps"], dpo["steps"]) == (8, 12)
    assert dpo["space"]["label_smoothing"]["when"] == {"loss_type": "robust"}
    assert "label_smoothing" not in dpo["first_trial"]


def test_a_fit_looks_at_what_is_searched_under_a_condition(searched: str) -> None:
    text = Path(searched).read_text().replace("sweep:", "max_length: {choice: [64, 512], when: "
    "{loss_type: ipo}}\n    sweep:")  # fmt: skip
    Path(searched).write_text(text)
    worst = printed("fit", searched)["stages"][1]["worst"]
    assert worst["params"]["max_length"] == 512
    assert worst["params"]["loss_type"] == "ipo"
