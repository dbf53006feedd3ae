"""Odds-ratio preference optimisation: no reference, and all logits at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from align.data.lengths import measure_lengths, trainable
from align.data.splits import load_split
from align.errors import DataError
from align.evaluation.metrics import key_of
from align.memory.activations import activations
from align.memory.machines import GPUS
from align.memory.shape import read_shape
from align.memory.workload import workload
from align.recipe.metric_schedule import at_end, kind_of
from tests.align.methods.tiny_recipe import recipe


def test_orpo_leaves_out_pairs_of_which_nothing_is_left(tiny: Any) -> None:
    """TRL would train on them, and their loss is NaN."""
    rows = load_split(recipe("orpo"), "one", "train")
    long = {**rows[0], "prompt": [{"role": "user", "content": "add " * 200}]}
    lengths = measure_lengths(tiny.tokenizer, [*rows, long], "orpo", 256)
    assert (lengths.rows, lengths.left_out) == (17, 1)
    assert trainable(tiny.tokenizer, [*rows, long], "orpo", 256) == rows
    assert trainable(tiny.tokenizer, [*rows, long], "dpo", 256) == [*rows, long]
    with pytest.raises(DataError, match="max_length 8 leaves no row"):
        measure_lengths(tiny.tokenizer, rows, "orpo", 8)


def test_a_run_with_such_a_pair_has_finite_losses(tiny: Any, tmp_path: Path) -> None:
    from align.training.train import train

    stage = recipe("orpo", max_length=256, sweep={"rungs": []}).stages["one"].resolve()
    rows = load_split(recipe("orpo"), "one", "train")
    rows = [{**rows[0], "prompt": [{"role": "user", "content": "add " * 200}]}, *rows[1:]]
    losses: list[float] = []
    train(
        tiny, stage, rows, tmp_path, to=3, steps=3, seed=0,
        on_step=lambda _, logs: losses.append(logs["loss"]),
    )  # fmt: skip
    assert len(losses) == 3 and all(0 < loss < 100 for loss in losses)


def test_pairs_whose_prompts_call_tools_are_trained_as_they_are_rendered(
    tiny: Any, tmp_path: Path
) -> None:
    """Calls differ in their arguments, which a column of TRL's would not hold through its steps."""
    from align.training.train import train

    stage = recipe("orpo", max_length=256, sweep={"rungs": []}).stages["one"].resolve()
    plain = load_split(recipe("orpo"), "one", "train")
    calls = [{"name": name, "arguments": {name: 1}} for name in ("add", "halve")]
    calling = [
        {**row, "prompt": [{**turn, "tool_calls": [{"type": "function", "function": call}]}
                           for turn in row["prompt"]]}
        for row, call in zip(plain, calls * 8, strict=True)
    ]  # fmt: skip
    losses: dict[str, list[float]] = {"plain": [], "calling": []}
    for name, rows in (("plain", plain), ("calling", calling)):
        train(
            tiny, stage, rows, tmp_path / name, to=2, steps=2, seed=0,
            on_step=lambda _, logs, name=name: losses[name].append(logs["loss"]),
        )  # fmt: skip
    assert len(losses["plain"]) == 2
    assert losses["calling"] == losses["plain"]  # the template shows no calls


def test_orpo_ranks_pairs_by_its_own_likelihood() -> None:
    """It has no reference, so no log-ratio to a parent is its implicit reward, as DPO's is."""
    stage = recipe("orpo").stages["one"]
    assert kind_of(stage, "pair_accuracy") == "pairs" and "implied" not in at_end(stage)
    assert key_of("pair_accuracy", "orpo") == "pair_accuracy"
    assert key_of("pair_accuracy", "dpo") == "implicit_pair_accuracy"


def test_memory_counts_the_logits_that_orpo_holds() -> None:
    shape, card = read_shape("smollm2-135m-instruct"), GPUS["T4"]
    orpo, dpo = (workload(recipe(name).stages["one"].resolve(), shape) for name in ("orpo", "dpo"))
    assert orpo.tokens == dpo.tokens == 2 * 4 * 512
    predicted = activations(orpo, shape, card).logits
    assert predicted == orpo.tokens * shape.vocab * 14 > activations(dpo, shape, card).logits
