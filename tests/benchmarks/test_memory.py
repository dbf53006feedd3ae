"""`alignery bench memory`, and how near predictions come to what torch's allocator counts."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from align.base import load_base
from align.evaluation import systems
from align.memory.peak import Peak as Predicted
from align.recipe import Recipe, parse_recipe
from alignery import app
from benchmarks.memory import run as running
from benchmarks.memory import stand_ins
from benchmarks.memory.allocator import Peak, highest, live_bytes
from benchmarks.memory.observed import Batches
from benchmarks.memory.run import Result, Settings, measure

STAGES = ("sft", "reward", "dpo", "grpo", "kto")
#: Of predictions on a CPU; what the docs state for them.
NEAR = 0.1
#: Bytes that are not counted, as batches and what is logged: much beside so small a model's 6 MB.
FEW = 2**20


def far_off(results: list[Result]) -> dict[str, float]:
    """Errors that neither explains, by stage."""
    off = {one.stage: abs(one.predicted.tensors - one.measured) for one in results}
    return {
        one.stage: one.error for one in results if off[one.stage] > max(FEW, NEAR * one.measured)
    }


@pytest.fixture(autouse=True)
def nothing_warm() -> None:
    """Models that other tests of this process left loaded would be measured with the rest."""
    systems._LOADED.clear()
    systems.shared_engine.cache_clear()
    load_base.cache_clear()
    gc.unfreeze()
    gc.collect()


def test_the_peak_counts_what_was_held_and_what_came() -> None:
    held = torch.zeros(1000)
    gc.collect()  # what other tests left
    before, peak = live_bytes(), Peak(torch.device("cpu"))
    peak.start()
    first = torch.zeros(3000)
    second = first + 1
    del first, second
    last = torch.zeros(500)
    assert peak.stop() == pytest.approx(before + 2 * 3000 * 4, abs=2000)
    assert live_bytes() == pytest.approx(before + 500 * 4, abs=2000)
    assert held.numel() + last.numel() == 1500
    assert [highest(changes) for changes in ([], [-5, 3], [5, 4, -8, 2])] == [0, 0, 9]


def test_all_stages_are_predicted_as_they_are_measured(tmp_path: Path) -> None:
    """The tutorial's own settings: checkpointing, LoRA on attention, dropout, chained."""
    results, machine = measure(Settings(STAGES, 2, quick=True), tmp_path)
    assert [one.stage for one in results] == list(STAGES)
    assert far_off(results) == {}
    for one in results:
        assert one.fit.tensors >= one.predicted.tensors
        assert one.batches.sequences == {"reward": 4}.get(one.stage, 2)
        assert one.seconds > 0
    assert machine["played"] is None


@pytest.fixture
def heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in recipe without checkpointing, LoRA with dropout on all linear layers."""

    def changed(raw: dict[str, Any], source: str) -> Recipe:
        for stage in raw["stages"].values():
            stage["gradient_checkpointing"] = False
            stage["lora"] = {"r": 4, "lora_dropout": 0.1}
        return parse_recipe(raw, source)

    monkeypatch.setattr(stand_ins, "parse_recipe", changed)


@pytest.fixture
def in_fp32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor without bf16."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    load_base.cache_clear()
    yield
    load_base.cache_clear()


@pytest.mark.usefixtures("heavy")
def test_predictions_hold_without_checkpointing_and_with_dropout(tmp_path: Path) -> None:
    results, _ = measure(Settings(("sft", "reward"), 2, quick=True), tmp_path)
    assert far_off(results) == {}


@pytest.mark.usefixtures("heavy", "in_fp32")
def test_predictions_hold_in_fp32(tmp_path: Path) -> None:
    results, machine = measure(Settings(("sft",), 2, quick=True), tmp_path)
    assert machine["dtype"] == "float32"
    assert far_off(results) == {}


def test_the_command_prints_both_and_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.memory.commands.prepare_process", lambda _: None)

    def measured(settings: Settings, folder: Path) -> tuple[list[Result], dict[str, object]]:
        assert settings == Settings(("sft",), 2, "", True)
        peak = Predicted(2**29, 0, 0, 0, 0, 0, overhead=5)
        result = Result("sft", "sft", Batches(2, 96, 44), peak, peak, 2**30, 1.25)
        return [result], {"device": "a card", "dtype": "float16", "played": "T4"}

    monkeypatch.setattr(running, "measure", measured)
    options = ["bench", "memory", "--quick", "--stages", "sft", "--steps", "2"]
    text = CliRunner().invoke(app, options).stdout
    assert "a card, float16, as a T4" in text
    assert "2 x 96 (44)" in text and "-50.0%" in text
    found = json.loads(CliRunner().invoke(app, [*options, "--json"]).stdout)
    assert found["stages"][0]["error"] == -0.5


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--stages", "sft,ppo"], "no stage 'ppo'; allowed: sft, reward, dpo, grpo, kto"),
        (["--gpu", "T5"], "unknown GPU 'T5'; allowed: T4"),
    ],
)
def test_bad_options_are_told_in_one_line(options: list[str], complaint: str) -> None:
    result = CliRunner().invoke(app, ["bench", "memory", *options])
    assert result.exit_code == 2
    assert complaint in result.stderr
