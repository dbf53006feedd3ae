"""Whole trainings are recorded, and recordings become learning curves."""

import json
from pathlib import Path

import pytest
import yaml

from align.recipe import load_recipe
from benchmarks.errors import BenchmarkError
from benchmarks.rungs import recordings
from benchmarks.rungs.curves import OBJECTIVES
from benchmarks.rungs.recordings import RECIPE, configurations, read_recordings, record


def write(folder: Path, name: str, params: dict[str, float], items: int = 2) -> None:
    point = {"values": {"accuracy": [0.0] * items, "nll": [0.5]}, "seconds": {"accuracy": 1.0}}
    content = {"params": params, "points": {"5": point, "15": point}, "test": [1.0, 0.0]}
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_configurations_stand_in_the_order_of_their_numbers(tmp_path):
    for number in (2, 10, 0):
        write(tmp_path, f"sft-{number}", {"learning_rate": number})
    [stage] = read_recordings(tmp_path)
    assert (stage.stage, stage.steps) == ("sft", [5, 15])
    assert [curve.params["learning_rate"] for curve in stage.curves] == [0, 2, 10]
    assert stage.unseen(0) == 0.5


def test_what_is_no_recording_is_told(tmp_path):
    with pytest.raises(BenchmarkError, match="no stage with two recordings"):
        read_recordings(tmp_path)
    write(tmp_path, "sft-0", {})
    (tmp_path / "sft-1.json").write_text('{"points": 3}')
    with pytest.raises(BenchmarkError, match=r"sft-1.json: not a recording"):
        read_recordings(tmp_path)
    write(tmp_path, "sft-1", {}, items=3)
    with pytest.raises(BenchmarkError, match="differ in"):
        read_recordings(tmp_path)


def test_the_shipped_recipe_has_configurations_of_each_stage_and_early_rungs():
    recipe = load_recipe(str(RECIPE))
    for stage in OBJECTIVES:
        params = configurations(recipe, stage)
        assert len(params) >= 6 and len({json.dumps(point) for point in params}) == len(params)
        rungs, steps = recipe.stages[stage].sweep.rungs, recipe.steps(stage)
        assert len(rungs) >= 2 and rungs[0] / steps <= 0.27


@pytest.fixture
def small(tmp_path, monkeypatch, home):
    """The shipped recipe on a tiny base, with two configurations of few steps a stage."""
    raw = yaml.safe_load(RECIPE.read_text())
    raw["base"] = "tiny-random"
    raw["data"] |= {"train": 16, "validation": 4, "test": 4}
    raw["evaluation"]["max_new_tokens"] = 4
    for stage in raw["stages"].values():
        stage["max_steps"] = 2
        stage["per_device_train_batch_size"] = 4
        if "sweep" in stage:
            stage["sweep"] |= {"rungs": [1], "points": stage["sweep"]["points"][:1], "trials": 2}
            stage["sweep"] |= {"rung_prompts": 2, "rung_samples": 2}
    raw["stages"]["grpo"]["max_completion_length"] = 4
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(raw))
    monkeypatch.setattr(recordings, "RECIPE", file)
    return tmp_path / "recorded"


def test_every_stage_is_recorded_once(small):
    record(small, list(OBJECTIVES))
    stages = read_recordings(small)
    assert [stage.stage for stage in stages] == list(OBJECTIVES)
    for stage in stages:
        assert stage.steps == [1, 2] and len(stage.curves) == 2
        assert len(stage.curves[0].test) > 0
        assert stage.objective in stage.metrics
    names = {file.name: file.stat().st_mtime_ns for file in small.glob("*.json")}
    (small / "dpo-1.json").unlink()
    record(small, ["dpo"])
    again = {file.name: file.stat().st_mtime_ns for file in small.glob("*.json")}
    changed = {name for name in names if names[name] != again[name]}
    assert changed == {"dpo-1.json"} and list((small / "work").iterdir()) == []
