"""Forward passes of the engine on meta tensors, in the shapes of real models.

`python -m tests.align.memory.meta_models` counts them all again and writes `budgets.json`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from align.base import Base
from align.inference.modeling.model import Model, Reading, Writing
from align.memory.counts import Counts
from align.memory.shape import ModelShape, shape_of
from tests.align.memory.operation_counter import counted
from tests.align.shapes import QWEN, SMOLLM2

BUDGETS = Path(__file__).parent / "budgets.json"
CONFIGS: dict[str, dict[str, Any]] = {"smollm2-135m": SMOLLM2, "qwen2.5-0.5b": QWEN}
RANK, ROWS, SLOTS, TOKENS = 16, 32, 33, 256
#: Positions that a row of a decode step attends to.
LONGEST = 128
#: Lengths of the prompts that are read at a time: about 60 tokens each.
PROMPTS = [44 + at for at in range(ROWS)]


def shape(name: str) -> ModelShape:
    return shape_of(CONFIGS[name], name)


@cache
def base(name: str, layers: int) -> Base:
    """The model with so many layers, in fp16 on meta tensors."""
    raw = {**CONFIGS[name], "num_hidden_layers": layers}
    config = CONFIG_MAPPING[raw.pop("model_type")](**raw)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float16)
    return Base(name, model.eval().requires_grad_(False), None, name)


def model(name: str, layers: int, adapters: int) -> Model:
    """With so many adapters of rank RANK on all linears in its bank."""
    ready = Model(base(name, layers), SLOTS, TOKENS, 16, 128)
    half = {"dtype": torch.float16, "device": "meta"}
    factors = {
        module: (
            torch.empty(RANK, linear.in_features, **half),
            torch.empty(RANK, linear.out_features, **half),
        )
        for module, linear in base(name, layers).model.named_modules()
        if isinstance(linear, torch.nn.Linear) and module != "lm_head"
    }
    for slot in range(adapters):
        ready.bank.put(slot, factors)
    return ready


def decode(ready: Model, rows: int, adapters: int) -> Counts:
    """A decode step; neighbouring rows share an adapter, as the engine sorts them."""
    banks = sorted(at % adapters if adapters else -1 for at in range(rows))
    writing = [Writing(5, at, LONGEST - 1, bank) for at, bank in enumerate(banks)]
    with counted() as counter:
        ready.write(writing)
    return counter.total


def read_prompts(ready: Model, adapters: int) -> Counts:
    """All of PROMPTS at a time, their adapters in turn, up to the logits of their last tokens."""
    readings = [
        Reading([5] * length, slot, 0, slot % adapters if adapters else -1)
        for slot, length in enumerate(PROMPTS)
    ]
    last = [sum(PROMPTS[: at + 1]) - 1 for at in range(ROWS)]
    with counted() as counter:
        hidden = ready.read(readings)
        ready.logits(hidden[torch.tensor(last, device="meta")])
    return counter.total


@cache
def count(name: str, what: str, adapters: int) -> Counts:
    """`what` is "1 row", "32 rows" or "32 prompts". All layers do the same, so two are run."""

    def run(layers: int) -> Counts:
        ready = model(name, layers, adapters)
        if what == "32 prompts":
            return read_prompts(ready, adapters)
        return decode(ready, int(what.split()[0]), adapters)

    first, both = run(1), run(2)
    return first + (both + first * -1) * (shape(name).layers - 1)


CASES = [
    (name, what, adapters)
    for name in CONFIGS
    for what in ("1 row", "32 rows", "32 prompts")
    for adapters in (0, 1, 16)
]


def label(name: str, what: str, adapters: int) -> str:
    return f"{name}, {what}, {adapters} adapters"


def budgets() -> dict[str, Counts]:
    """The committed numbers of each case, by label."""
    raw = json.loads(BUDGETS.read_text(encoding="utf-8"))
    return {key: Counts(**value) for key, value in raw.items()}


def main() -> None:
    """Write `budgets.json` with what the code of today counts, and print what has changed."""
    before = budgets() if BUDGETS.exists() else {}
    now = {label(*one): count(*one) for one in CASES}
    for key, counts in now.items():
        was = before.get(key)
        print(f"{key}: {counts}" + ("" if was in (None, counts) else f", before {was}"))
    BUDGETS.write_text(
        json.dumps({key: asdict(counts) for key, counts in now.items()}, indent=1) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
