"""What a run reads is resolved once, before it starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sweeps.runner
from align.recipe import Recipe, parse_recipe
from cluster.database import open_database
from cluster.pool import Node
from cluster.registry import AdapterVersion
from cluster.settings import Settings
from sweeps import run_store
from sweeps.events import ignore
from sweeps.pool.placement import Placement
from sweeps.pool.shipping import ship_data
from sweeps.run_store import RunOptions
from sweeps.runner import drive_launch, new_inputs, recorded_inputs, usd_per_hour
from tests.sweeps.toy_recipe import RECIPE

STORED = "alignery://datasets/"


@pytest.fixture
def shipped(settings: Settings, tmp_path: Path) -> Recipe:
    """A recipe as it comes to a job's driver: its data file is in storage."""
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1+1", "completion": "2"}\n')
    recipe = parse_recipe({**RECIPE, "data": {"path": "rows.jsonl"}}, folder=tmp_path)
    return ship_data(settings, recipe)


@pytest.fixture
def on_cluster(settings: Settings) -> Settings:
    """Settings of a driver whose workers may see other files, so data are not checked here."""
    return settings.model_copy(update={"ray_address": "cluster:6379"})


def test_a_launch_records_the_adapters_and_files_that_it_begins_with(
    on_cluster: Settings, shipped: Recipe, register: Any
) -> None:
    register("toy/sft")
    register("toy/reward", method="reward")
    begun = new_inputs(on_cluster, shipped, ["grpo"], RunOptions(promote=True))
    assert begun.options.promote
    assert begun.options.needs == {"sft": "toy/sft:1", "reward": "toy/reward:1"}
    assert begun.recipe.data is not None and str(begun.recipe.data.path).startswith(STORED)
    assert begun.local.data is not None and Path(str(begun.local.data.path)).is_file()
    assert list(begun.options.files) == [begun.local.data.path]
    assert begun.local.stages["grpo"].parent == "toy/sft:1"
    register("toy/sft", rank=16)  # a newer version changes nothing for a resume
    assert recorded_inputs(on_cluster, shipped, ["grpo"], begun.options) == begun


def test_the_search_gets_what_was_resolved_and_workers_what_is_stored(
    on_cluster: Settings, shipped: Recipe, register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("toy/sft")
    register("toy/reward", method="reward")
    inputs = new_inputs(on_cluster, shipped, ["grpo"], RunOptions())
    called: dict[str, Any] = {}

    def search(_settings: Settings, recipe: Recipe, _stages: list[str], **options: Any) -> dict:
        called.update(options, recipe=recipe)
        return {}

    @contextmanager
    def no_ray(_settings: Settings) -> Iterator[None]:
        yield

    for name, replacement in (
        ("run_pipeline", search),
        ("ray_session", no_ray),
        ("placement_of", lambda *_: None),
        ("check_workers", lambda *_: None),
        ("find_needs", lambda *_: pytest.fail("resolved twice")),
        ("localise", lambda *_: pytest.fail("fetched twice")),
    ):
        monkeypatch.setattr(sweeps.runner, name, replacement)
    drive_launch(on_cluster, open_database(on_cluster), inputs, on_event=ignore)
    assert called["recipe"] is inputs.local
    assert {version.name for version in called["outside"].values()} == {
        "toy/sft:1",
        "toy/reward:1",
    }
    sent: Recipe = called["sent"]
    assert sent == run_store.with_needs(shipped, inputs.options.needs)
    assert ship_data(on_cluster, sent, code=True) == sent
    assert all(isinstance(version, AdapterVersion) for version in called["outside"].values())


def test_what_becomes_of_the_rows_is_recorded_by_stage(
    settings: Settings, tmp_path: Path, register: Any
) -> None:
    rows = [{"prompt": f"p{n}", "completion": f"c{n}", "answer": "1"} for n in range(30)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"path": str(path), "train": 16, "validation": 4, "test": 4}
    recipe = parse_recipe({**RECIPE, "data": data, "stages": {"sft": RECIPE["stages"]["sft"]}})
    inputs = new_inputs(settings, recipe, ["sft"], RunOptions())
    (remark,) = inputs.options.remarks["sft"]
    assert remark == f"24 of 30 rows of {path} are used (train 16, validation 4, test 4)"
    elsewhere = settings.model_copy(update={"ray_address": "cluster:6379"})
    assert new_inputs(elsewhere, recipe, ["sft"], RunOptions()).options == inputs.options
    missing = recipe.model_copy(update={"base": "/only/in/the/image"})
    assert new_inputs(elsewhere, missing, ["sft"], RunOptions()).options.remarks == {}


def test_a_trial_pays_its_share_of_a_gpu_or_of_the_machine() -> None:
    machine = Node("a", "host", "10.0.0.1", cpus=4.0, gpus=2.0)
    on_cpus = Placement(cpus=1)
    assert usd_per_hour(on_cpus, ["sft"], 0.4, [machine]) == {"sft": pytest.approx(0.1)}
    two = Placement(cpus=1, max_concurrent=2)
    assert usd_per_hour(two, ["sft"], 0.4, [machine]) == {"sft": pytest.approx(0.2)}
    on_gpus = Placement(cpus=1, gpus={"sft": 0.5, "grpo": 1.0})
    rates = usd_per_hour(on_gpus, ["sft", "grpo"], 0.4, [machine])
    assert rates == {"sft": pytest.approx(0.2), "grpo": pytest.approx(0.4)}
    assert usd_per_hour(on_cpus, ["sft"], 0.4, []) == {"sft": pytest.approx(0.4)}
