"""`alignery adapter compare`: two adapters by the held-out items that both were measured on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from align.errors import AdapterError
from align.evaluation.examples import named, write_examples
from align.evaluation.metrics import Evaluation
from cluster.commands import adapter_app
from cluster.errors import AdapterNotFound
from cluster.registry import open_registry
from cluster.settings import Settings

LINE, ITEMS = "arithmetic/dpo", 60


def rows(start: int = 0) -> list[dict[str, Any]]:
    return [
        {"prompt": [{"role": "user", "content": f"What is {n} and one?"}]}
        for n in range(start, start + ITEMS)
    ]


def evaluation(right: int, length: float, start: int = 0, **more: Any) -> Evaluation:
    """So many right answers, the first ones; lengths that vary alike for every adapter."""
    return Evaluation(
        "dpo",
        more.pop("split", "validation"),
        texts=["x" * (10 + n) for n in range(ITEMS)],
        correct=[float(n < right) for n in range(ITEMS)],
        lengths=[length + n % 7 for n in range(ITEMS)],
        **more,
        **named("answers", rows(start)),
    )


@pytest.fixture
def register(make_adapter: Callable[..., Path]) -> Callable[..., str]:
    """Register an adapter with these rows; its name."""
    registry = open_registry(Settings())

    def add(seed: int, measured: Evaluation | None, **manifest: Any) -> str:
        folder = make_adapter(seed, line=LINE, method="dpo", **manifest)
        if measured is not None:
            write_examples(folder, measured)
        return registry.register(LINE, folder).name

    return add


def run(*words: str) -> str:
    result = CliRunner().invoke(adapter_app, ["compare", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_every_common_measure_with_both_means_interval_and_verdict(register: Any) -> None:
    first = register(1, evaluation(45, 50.0))
    second = register(2, evaluation(20, 50.2, nll=[]))
    found = json.loads(run(first, second, "--json"))
    assert (found["first"], found["second"], found["split"]) == (first, second, "validation")
    assert set(found["measures"]) == {"accuracy", "length", "repetition"}
    accuracy = found["measures"]["accuracy"]
    assert (accuracy["first"], accuracy["second"]) == (0.75, pytest.approx(1 / 3))
    assert accuracy["difference"] == pytest.approx(25 / 60)
    assert 0.2 < accuracy["low"] < 25 / 60 < accuracy["high"] < 0.6
    assert (accuracy["count"], accuracy["verdict"]) == (ITEMS, "better")
    # Means hide a steady difference on the same items; pairs show it. Length has no good side.
    assert found["measures"]["length"]["verdict"] == "less"
    assert found["measures"]["repetition"]["verdict"] == "not clearly different"
    turned = json.loads(run(second, first, "--json"))["measures"]
    assert turned["accuracy"]["verdict"] == "worse" and turned["length"]["verdict"] == "more"


def test_a_table_for_people(register: Any) -> None:
    first, second = register(1, evaluation(45, 50.0)), register(2, evaluation(20, 50.0))
    table = run(first, second)
    header, accuracy = table.splitlines()[:2]
    assert first in header and second in header
    assert accuracy.split()[:6] == ["accuracy", "60", "75.0", "%", "33.3", "%"]
    assert accuracy.rstrip().endswith("better")


def test_items_are_paired_by_what_was_asked_not_by_place(register: Any) -> None:
    first = register(1, evaluation(ITEMS, 50.0))
    second = register(2, evaluation(ITEMS, 50.0, start=40))
    found = json.loads(run(first, second, "--json"))["measures"]["length"]
    assert found["count"] == 20  # asked of both
    assert found["difference"] == pytest.approx(sum((40 + n) % 7 - n % 7 for n in range(20)) / 20)


def test_what_means_another_thing_for_each_is_left_out(register: Any) -> None:
    judged = {"wins": [1.0] * ITEMS, "kl_tokens": [0.1] * ITEMS, "reward": [0.5] * ITEMS}
    first = register(1, evaluation(45, 50.0, **judged), parents=["a" * 64], reward_model="c" * 64)
    second = register(2, evaluation(20, 50.0, **judged), parents=["b" * 64], reward_model="d" * 64)
    found = json.loads(run(first, second, "--json"))
    assert set(found["measures"]) == {"accuracy", "length", "repetition"}
    assert found["left_out"]["kl_per_token"] == "their parents differ"
    assert found["left_out"]["mean_reward"] == "their reward models differ"
    assert "left out, since their parents differ: kl_per_token" in run(first, second)


def test_labels_are_compared_by_area(register: Any) -> None:
    def labelled(ratios: list[float]) -> Evaluation:
        items = [{**row, "completion": [], "label": n % 2 == 0} for n, row in enumerate(rows())]
        return Evaluation(
            "kto",
            "validation",
            log_ratios=ratios,
            liked=[float(row["label"]) for row in items],
            **named("labels", items, "completion", "label"),
        )

    sees = register(1, labelled([float(n % 2 == 0) + n / 100 for n in range(ITEMS)]))
    blind = register(2, labelled([float(n // 2) for n in range(ITEMS)]))
    found = json.loads(run(sees, blind, "--json"))["measures"]
    assert found["label_auc"]["first"] == 1.0 and found["label_auc"]["second"] == 0.5
    assert found["label_auc"]["verdict"] == "better" and "liked" not in found


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        (None, r"arithmetic/dpo:2: .*no evaluation\.jsonl.*alignery sweep run"),
        (evaluation(20, 50.0, start=1000), r"no held-out item in common \(60 and 60\)"),
        (
            evaluation(20, 50.0, split="test"),
            "first was measured on validation, the second on test",
        ),
    ],
)
def test_what_cannot_be_compared(register: Any, measured: Evaluation | None, says: str) -> None:
    first, second = register(1, evaluation(45, 50.0)), register(2, measured)
    with pytest.raises(AdapterError, match=says):
        run(first, second)


def test_an_imported_adapter_is_not_to_be_searched_again(register: Any) -> None:
    first = register(1, evaluation(45, 50.0))
    second = register(2, None, training={"imported": {"peft_type": "LORA"}})
    with pytest.raises(AdapterError, match="it was imported, so it has no measurements") as said:
        run(first, second)
    assert "sweep run" not in str(said.value)


def test_damaged_rows_are_named(register: Any, make_adapter: Any) -> None:
    first = register(1, evaluation(45, 50.0))
    folder = make_adapter(2, line=LINE)
    write_examples(folder, evaluation(20, 50.0))
    with (folder / "evaluation.jsonl").open("a") as file:
        file.write('{"items": "ans')
    second = open_registry(Settings()).register(LINE, folder).name
    with pytest.raises(AdapterError, match=r"evaluation\.jsonl: line 61 is damaged"):
        run(first, second)


def test_unknown_names_are_the_registrys_errors(register: Any) -> None:
    first = register(1, evaluation(45, 50.0))
    with pytest.raises(AdapterNotFound, match="did you mean"):
        run(first, "arithmetic/dpo:7")
