"""`alignery recipe try-rewards` as a person types it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from align.evaluation.evaluate import shared_engine
from align.recipe.load import BUILTIN
from alignery import app

MOODY = """
def moody(completion, answer):
    if "raise" in completion:
        raise ValueError("not today")
    return float(len(completion))
"""


def tried(recipe: Path | str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["recipe", "try-rewards", str(recipe), *arguments])


def printed(recipe: Path | str, *arguments: str) -> Any:
    """The command's JSON: stdout holds nothing else."""
    result = tried(recipe, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refused(recipe: Path | str, *arguments: str) -> str:
    """The one line of an error."""
    result = tried(recipe, *arguments)
    assert result.exit_code == 2 and not result.stdout
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(autouse=True)
def own_engine(tiny: Any) -> None:
    """`tiny` turns the base to fp32 in place, which an engine made before does not survive."""
    shared_engine.cache_clear()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The smoke recipe with a function of one's own and no reward model."""
    raw = yaml.safe_load((BUILTIN / "arithmetic-smoke.yaml").read_text())
    raw["stages"]["grpo"]["rewards"] = {
        "correctness": 1.0,
        "moody": {"weight": -0.01, "python": "moods:moody"},
    }
    (tmp_path / "moods.py").write_text(MOODY)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def rows(path: Path, *rows: tuple[str, str, str]) -> str:
    names = ("prompt", "completion", "answer")
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    path.write_text("\n".join(lines))
    return str(path)


def test_completions_are_written_and_every_reward_is_shown(recipe: Path) -> None:
    asked = ("--prompts", "2", "--completions", "3", "--max-new-tokens", "6")
    found = printed(recipe, *asked)
    assert (found["recipe"], found["stage"], found["left_out"]) == ("arithmetic-smoke", "grpo", [])
    samples = found["samples"]
    assert len(samples) == 6 and len({one["prompt"][-1]["content"] for one in samples}) == 2
    assert len({one["completion"] for one in samples}) > 2
    for one in samples:
        assert one["parts"]["moody"] == len(one["completion"])
        expected = one["parts"]["correctness"] - 0.01 * one["parts"]["moody"]
        assert one["total"] == pytest.approx(expected)
    assert found == printed(recipe, *asked)
    assert samples != printed(recipe, *asked, "--seed", "5")["samples"]
    told = tried(recipe, *asked).stdout
    assert "arithmetic-smoke/grpo: 6 completions written by the base tiny-random" in told
    assert "correctness" in told and "moody" in told and "total" in told


def test_defaults_are_the_stages(recipe: Path) -> None:
    samples = printed(recipe, "--prompts", "1")["samples"]
    assert len(samples) == 2  # its num_generations
    assert all(one["truncated"] for one in samples)  # at its max_completion_length


def test_given_completions_are_scored_without_any_model(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("align.base.load_base", None)
    file = rows(
        tmp_path / "given.jsonl",
        ("1 + 1 =", "2", "2"),
        ("2 + 2 =", "please raise 4", "4"),
        ("1 + 1 =", "it is 3", "2"),
        ("2 + 2 =", "5", "4"),
        ("9 + 9 =", "18", "18"),
        ("9 + 9 =", "18", "18"),
    )
    found = printed(recipe, "--completions-from", file)
    assert [one["completion"] for one in found["samples"]][:3] == ["2", "it is 3", "please raise 4"]
    assert [one["parts"]["correctness"] for one in found["samples"]] == [1, 0, 1, 0, 1, 1]
    assert found["samples"][2]["parts"]["moody"] is None
    assert found["samples"][2]["total"] == 1.0
    moody = found["rewards"]["moody"]
    assert (moody["weight"], moody["failed"], moody["count"], moody["high"]) == (-0.01, 1, 6, 7)
    assert found["failures"] == [
        {
            "reward": "moody",
            "prompt": "2 + 2 =",
            "text": "please raise 4",
            "error": "ValueError: not today",
        }
    ]
    assert found["tells"]["zero_variance_groups"] == pytest.approx(1 / 3)
    told = tried(recipe, "--completions-from", file).stdout
    assert "moody on 'please raise 4': ValueError: not today" in told
    assert "moody gave no number for 1 of 6 completions" in told
    assert "every completion of 1 of 3 prompts scores alike: GRPO learns nothing" in told


def test_an_adapter_writes_and_a_reward_model_judges(make_adapter: Any) -> None:
    judge = make_adapter("judge", 1)
    tensors = load_file(judge / "adapter_model.safetensors")
    tensors["base_model.model.score.weight"] = torch.randn(1, 64) * 10
    save_file(tensors, judge / "adapter_model.safetensors")
    asked = ("arithmetic-smoke", "--prompts", "2")
    without = printed(*asked)
    assert without["left_out"] == ["reward_model"] and "reward_model" not in without["rewards"]
    assert "reward_model is left out" in tried(*asked).stdout
    found = printed(*asked, "--reward-model", str(judge), "--adapter", str(make_adapter("a", 2)))
    assert found["left_out"] == []
    assert all(0 < one["parts"]["reward_model"] < 1 for one in found["samples"])
    assert [one["completion"] for one in found["samples"]] != [
        one["completion"] for one in without["samples"]
    ]


def test_what_a_completion_holds_cannot_reach_the_terminal(recipe: Path, tmp_path: Path) -> None:
    file = rows(tmp_path / "given.jsonl", ("a", "\x1b[2J [bold]7[/]", "7"))
    told = tried(recipe, "--completions-from", file).stdout
    assert "\x1b[2J" not in told and "[bold]7[/]" in told


def test_one_line_for_each_mistake(recipe: Path, tmp_path: Path) -> None:
    assert "no stage 'ppo'; allowed: sft, reward, dpo, grpo" in refused(recipe, "--stage", "ppo")
    assert "stage 'sft' has no rewards; stages that have: grpo" in refused(recipe, "--stage", "sft")
    assert "it has: correctness, moody" in refused(recipe, "--reward-model", str(tmp_path))
    nowhere = str(tmp_path / "nowhere")
    assert nowhere in refused(recipe, "--adapter", nowhere)
    assert nowhere in refused(recipe, "--completions-from", f"{nowhere}.jsonl")
    assert "exclude" in refused(recipe, "--completions-from", nowhere, "--adapter", nowhere)
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "text": "b"}')
    found = refused(recipe, "--completions-from", str(file))
    assert "row 1 has no completion" in found and "found prompt, text" in found
    file.write_text('{"prompt": "a", "completion": "b"}')
    assert "'correctness' needs the column answer" in refused(
        recipe, "--completions-from", str(file)
    )
    (tmp_path / "moods.py").unlink()
    assert "'moody' (moods:moody)" in refused(recipe)


def test_a_recipe_without_rewards(tmp_path: Path) -> None:
    raw = yaml.safe_load((BUILTIN / "arithmetic-smoke.yaml").read_text())
    raw["stages"] = {"sft": raw["stages"]["sft"]}
    path = tmp_path / "plain.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    assert "no stage has rewards; write e.g. rewards: {correctness: 1.0}" in refused(path)
