"""Adapters to measure, a reward model to judge them, and a recipe without answers."""

import json
from pathlib import Path

import pytest
import torch

from align.adapters import Manifest, adapter_id, write_manifest
from align.base import load_base
from align.recipe import Recipe, parse_recipe


@pytest.fixture
def other(make_adapter) -> Path:
    return make_adapter("other", seed=1)


@pytest.fixture
def judge(make_adapter) -> Path:
    """A reward model: an adapter with a random head."""
    from safetensors.torch import load_file, save_file

    folder = make_adapter("judge", seed=2)
    tensors = load_file(folder / "adapter_model.safetensors")
    torch.manual_seed(3)
    tensors["base_model.model.score.weight"] = torch.randn(1, 64)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    base = load_base("tiny-random")
    known = {"base": base.ref, "base_digest": base.digest, "line": "a/b", "method": "reward"}
    metrics = {"chosen_mean": 0.0, "chosen_std": 5.0}
    manifest = Manifest(id=adapter_id(folder), **known, rank=4, metrics=metrics)
    write_manifest(folder, manifest)
    return folder


@pytest.fixture
def plain(tmp_path) -> Recipe:
    """Conversations without answers that could be checked, and a reward that needs one."""
    rows = [
        {"prompt": f"Tell me about the number {n}.", "completion": f"{n} is a number."}
        for n in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    stage = {
        "method": "sft",
        "objective": "nll",
        "learning_rate": 1e-3,
        "max_steps": 2,
        "rewards": {"correctness": 1.0, "brevity": 0.2},
    }
    data = {"path": "rows.jsonl", "train": 16, "validation": 6, "test": 6}
    raw = {"name": "plain", "base": "tiny-random", "data": data, "stages": {"sft": stage}}
    return parse_recipe({**raw, "evaluation": {"max_new_tokens": 4}}, folder=tmp_path)
