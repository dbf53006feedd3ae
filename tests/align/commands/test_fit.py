"""`alignery recipe fit` as a person types it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from align.recipe import load_recipe
from alignery import app
from tests.align.shapes import QWEN


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN))
    return str(path)


def fit(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["recipe", "fit", *arguments])


def said(*arguments: str) -> str:
    result = fit(*arguments)
    assert result.exit_code == 0, result.stderr
    return " ".join(result.stdout.split())


def printed(*arguments: str) -> Any:
    result = fit(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def of(tmp_path: Path, **fields: Any) -> str:
    """A recipe with one SFT stage on the tiny base."""
    sft = {"method": "sft", "learning_rate": 1e-4, "max_steps": 4, "objective": "nll", **fields}
    data = {"task": "arithmetic", "train": 64, "validation": 8, "test": 8}
    raw = {"name": "r", "base": "tiny-random", "data": data, "stages": {"sft": sft}}
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(raw))
    return str(path)


def test_the_tutorial_fits_on_a_t4(config: str) -> None:
    found = printed("tutorial", "--gpu", "t4", "--config", config)
    assert [one["stage"] for one in found["stages"]] == load_recipe("tutorial").order()
    assert found["dtype"] == "float16"
    for one in found["stages"]:
        assert one["worst"]["fits"]
        assert one["worst"]["bytes"]["total"] == sum(
            value for name, value in one["worst"]["bytes"].items() if name != "total"
        )
        better = one["proposal"]
        assert (
            better["per_device_train_batch_size"] * better["gradient_accumulation_steps"]
            == one["first"]["per_device_train_batch_size"]
            * one["first"]["gradient_accumulation_steps"]
        )


def test_the_table_and_its_sentences_stay_within_a_terminal(config: str) -> None:
    result = fit("tutorial", "--config", config)
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines() if str(config) not in line) <= 100
    assert "r 32" in result.stdout  # the worst of the search space
    assert "trials share a card" in result.stdout


def test_what_does_not_fit_is_said_with_what_would(tmp_path: Path, config: str) -> None:
    large = of(tmp_path, per_device_train_batch_size=64, max_length=2048)
    text = said(large, "--config", config)
    assert "It does not fit" in text
    assert "It fits with: per_device_train_batch_size:" in text
    assert "the effective batch stays 64" in text


def test_what_fits_in_no_way_is_said_and_is_no_failure(tmp_path: Path, config: str) -> None:
    Path(config).write_text(json.dumps({**QWEN, "num_hidden_layers": 700}))
    text = said(of(tmp_path), "--config", config)
    assert "It does not fit at micro-batch 1 with gradient_checkpointing" in text


def test_checkpointing_that_is_needed_or_not_is_told(tmp_path: Path, config: str) -> None:
    wide = {"per_device_train_batch_size": 1, "max_length": 16384}
    needed = of(tmp_path, **wide, gradient_checkpointing=True)
    assert "gradient_checkpointing is needed:" in said(needed, "--config", config)
    assert "gradient_checkpointing is not needed." in said(of(tmp_path))


def test_the_engines_speed_is_that_of_the_largest_published_adapter(tmp_path: Path) -> None:
    """An adapter on a parent has the ranks of both."""
    path = Path(of(tmp_path, lora={"r": 12}))
    raw = yaml.safe_load(path.read_text())
    raw["stages"]["more"] = {**raw["stages"]["sft"], "parent": "sft", "lora": {"r": 8}}
    path.write_text(yaml.safe_dump(raw))
    engine = printed(str(path))["engine"]
    assert (engine["gpu"], engine["dtype"], engine["rank"]) == ("T4", "float16", 20)
    assert printed(str(path), "--stage", "sft")["engine"]["rank"] == 12
    assert "Tokens a second of the engine on a T4" in said(str(path))


def test_one_stage_and_its_prompts(config: str) -> None:
    few = printed("tutorial", "--stage", "grpo", "--config", config)
    many = printed("tutorial", "--stage", "grpo", "--config", config, "--prompt-tokens", "2000")
    assert [one["stage"] for one in few["stages"]] == ["grpo"]
    assert (few["stages"][0]["worst"]["tokens"], many["stages"][0]["worst"]["tokens"]) == (
        352,
        2096,
    )


def test_an_adapter_of_the_registry_is_said_not_to_be_counted(tmp_path: Path) -> None:
    text = said(of(tmp_path, parent="other/sft@champion"))
    assert "Not counted, since only the registry knows their size: other/sft@champion." in text


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["tutorial", "--gpu", "T5"], "unknown GPU 'T5'; allowed: T4"),
        (["arithmetic", "--stage", "nope"], "has no stage 'nope'; allowed: sft"),
        (["tutorial"], "cannot be reached"),
        (["arithmetic", "--config", "missing.json"], "missing.json"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments: list[str], complaint: str) -> None:
    result = fit(*arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_it_says_whose_overheads_it_uses(home: Path, config: str) -> None:
    arguments = ("tutorial", "--config", config)
    assert "These are assumed (0.50 GiB and 5% of the tensors) until" in said(*arguments)
    assumed = printed(*arguments)
    file = home / "gpu-check" / "T4.json"
    file.parent.mkdir()
    figures = {"context": 2**30, "fragmentation": 0.1}
    file.write_text(json.dumps({"checks": [{"name": "memory", "figures": figures}]}))
    text = said(*arguments)
    assert "These were measured on a T4 by `alignery gpu check`: 1.00 GiB and 10%" in text
    used = printed(*arguments)
    assert assumed["overheads"]["measured"] is False and used["overheads"]["measured"] is True
    first, second = (one["stages"][0]["first"]["bytes"] for one in (assumed, used))
    assert second["overhead"] > first["overhead"] + 2**29
    assert second["activations"] == first["activations"]
