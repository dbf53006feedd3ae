"""`alignery adapter show` and `compare` as people read them."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from align.evaluation.examples import examples, named
from align.evaluation.metrics import Evaluation
from cluster.display import duration_text, size_text, version_parts
from cluster.registry import open_registry
from cluster.settings import Settings

ITEMS = [{"prompt": [{"role": "user", "content": f"What is {n}?"}]} for n in range(16)]
WRONG = Evaluation(
    "sft", "validation", correct=[0.0] * 16, lengths=[20.0] * 16, **named("answers", ITEMS)
)
MANIFEST: dict[str, Any] = {
    "params": {"learning_rate": 0.00012345, "lora.r": 8},
    "metrics": {
        "accuracy": 0.0,
        "length": 20.0,
        "kl_per_token": 0.0123,
        "base_length": 30.0,
        "step": 40.0,
        "seconds": 9.5,
        "seconds_load": 2.5,
        "seconds_train": 7.0,
    },
    "against_base": {"accuracy": {"difference": -0.25, "low": -0.5, "high": 0.0, "items": 16}},
    "data": {"train": {"rows": 1200, "fingerprint": "f" * 64}},
    "versions": {"torch": "2.9.0", "peft": "0.18.0"},
    "seconds": 12.345,
    "wall_seconds": 185.4,
}


@pytest.fixture
def shown(make_adapter: Any) -> Any:
    """The lines of an adapter at a terminal's width."""
    registry = open_registry(Settings())

    def show(width: int, measured: Evaluation | None = WRONG, **manifest: Any) -> list[str]:
        made = make_adapter(1, line="arithmetic/sft", **{**MANIFEST, **manifest})
        version = registry.register("arithmetic/sft", made)
        rows = [] if measured is None else examples(measured)
        file = io.StringIO()
        folder: Path = registry.folder(version)
        Console(file=file, width=width).print(*version_parts(version, folder, rows), sep="\n")
        return [line.rstrip() for line in file.getvalue().splitlines()]

    return show


def line(lines: list[str], first: str) -> str:
    (found,) = (line for line in lines if line.startswith(f"{first} "))
    return " ".join(found.split())


def test_each_field_is_a_row_and_nothing_is_json(shown: Any) -> None:
    lines = shown(200)
    assert not set('{}"') & set("".join(lines))
    assert line(lines, "method") == "method sft, rank 2"
    assert line(lines, "training") == "training 3 min 5 s, 40 steps, seed 0"
    assert line(lines, "learning_rate") == "learning_rate 0.0001234"
    assert line(lines, "rows") == "rows 1,200 train"
    assert line(lines, "packages") == "packages peft 0.18.0, torch 2.9.0"
    assert line(lines, "last milestone") == "last milestone load 2.5 s, train 7.0 s"
    assert line(lines, "folder").endswith(" KiB)")


def test_each_measure_has_its_interval_and_its_items(shown: Any) -> None:
    lines = shown(200)
    accuracy = line(lines, "accuracy")
    assert accuracy == "accuracy 0.0 % (0.0 to 19.4) 16 -25.0 (-50.0 to +0.0) points"
    assert line(lines, "length") == "length 20 (no spread) 16 –"
    assert line(lines, "kl_per_token") == "kl_per_token 0.0123 –"
    names = {line.split(" ")[0] for line in lines}
    assert not names & {"base_length", "step", "seconds", "seconds_load"}
    assert "to the parent" not in "".join(lines)


def test_a_parent_has_a_column_of_its_own(shown: Any) -> None:
    gain = {"difference": 0.125, "low": -0.1, "high": 0.3, "items": 16}
    lines = shown(
        200, parents=["d" * 64], parent_lines=["arithmetic/base"], against_parent={"accuracy": gain}
    )
    assert line(lines, "parents") == f"parents arithmetic/base {'d' * 12}"
    assert line(lines, "accuracy").endswith("+12.5 (-10.0 to +30.0) points")


def test_80_columns_wrap_and_cut_nothing(shown: Any) -> None:
    lines = shown(80, params={"target_modules": "all-linear " * 30})
    assert max(map(len, lines)) <= 80 and "…" not in "".join(lines)
    assert "".join("".join(lines).split()).count("all-linear") == 30


def test_without_rows_the_manifest_counts_the_items(shown: Any) -> None:
    assert line(shown(120, None), "accuracy") == "accuracy 0.0 % 16 -25.0 (-50.0 to +0.0) points"


def test_an_adapter_without_measures_is_not_measured(shown: Any) -> None:
    assert "not measured" in shown(120, None, metrics={}, against_base={})


def test_sizes_are_binary() -> None:
    assert size_text(512 * 1024) == "512 KiB" and size_text(5 * 2**20) == "5.0 MiB"


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.34, "12.3 s"), (185.4, "3 min 5 s"), (7500.0, "2 h 5 min")]
)
def test_times_are_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
