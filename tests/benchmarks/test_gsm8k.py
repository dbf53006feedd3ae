"""`alignery bench gsm8k`: what it asks for, and what it makes of two evaluations."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import alignery
from align.evaluation.metrics import Evaluation
from align.preflight import check_inputs
from benchmarks.gsm8k.run import _likelihoods, _pairs, load, table


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """As many rows as the recipe asks for; in two pairs of three the longer answer is right."""

    def turn(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    solved = [
        {
            "prompt": turn("user", f"What is {n} and one?"),
            "completion": turn("assistant", f"{n + 1}"),
        }
        for n in range(1100)
    ]
    pairs = [
        {
            "prompt": turn("user", f"What is {n} and two?"),
            "chosen": turn("assistant", f"It is {n + 2}" + "." * 20 * (n % 3 > 0)),
            "rejected": turn("assistant", f"It is {n + 3}" + "." * 10),
        }
        for n in range(960)
    ]
    for name, rows in (("sft", solved), ("preference", pairs)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_the_recipe_takes_its_rows_from_the_folder(data: Path) -> None:
    recipe = load(data, trials=3)
    check_inputs(recipe)
    assert recipe.data_of("sft").path == str(data / "sft.jsonl")
    assert [one.sweep.trials for one in recipe.stages.values()] == [3, 3]


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sft.jsonl").write_text("{}")
    result = CliRunner().invoke(alignery.app, ["bench", "gsm8k", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "no preference.jsonl there" in result.stderr


def test_champions_are_held_against_the_base_and_the_longer_answer(data: Path) -> None:
    recipe = load(data, trials=2)
    sft = Evaluation("sft", "test", nll=[1.0, 1.5] * 100)
    base = Evaluation("base", "test", nll=[2.0, 2.5] * 100)
    found = _likelihoods(sft, base)
    assert (found["nll"], found["base_nll"], found["rows"]) == (1.25, 2.25, 200)
    assert found["difference"]["high"] is None and found["difference"]["count"] == 200

    right = Evaluation("reward", "test", pairs=[1.0] * 300)
    judged = _pairs(right, recipe)
    assert judged["longer_rule"] == pytest.approx(2 / 3, abs=0.1)
    assert judged["difference"]["low"] > 0.2

    console = Console(width=120, record=True)
    console.print(
        table({"sft": {"adapter": "a:1", **found}, "reward": {"adapter": "b:1", **judged}})
    )
    shown = console.export_text()
    assert "-1.000" in shown and "no spread in 200 rows" in shown
    assert "the longer is right" in shown
