"""An empty installation, and small random adapters for a real engine on the tiny base."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from align.adapters import Manifest, adapter_id, write_manifest
from align.base import load_base
from cluster.settings import Settings

BASE = "tiny-random"


@contextmanager
def installation(folder: Path) -> Iterator[Settings]:
    """One of its own in `folder`, for this process and those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("ALIGNERY_DATABASE_URL", "ALIGNERY_STORAGE", "ALIGNERY_RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("ALIGNERY_HOME", str(folder / "home"))
        yield Settings()


def real_adapter(folder: Path, method: str, seed: int) -> Path:
    """A random LoRA (and for a reward model a head) that fits the tiny base."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    random = torch.Generator().manual_seed(seed)
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{module}.lora_A.weight": torch.randn(4, 64, generator=random),
        f"{module}.lora_B.weight": torch.randn(64, 4, generator=random),
    }
    if method == "reward":
        tensors["base_model.model.score.weight"] = torch.randn(1, 64, generator=random)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if method == "reward" else "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "layers_to_transform": [0],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    manifest = Manifest(
        id=adapter_id(folder),
        base=BASE,
        base_digest=load_base(BASE).digest,
        line=f"arithmetic/{method}",
        method=method,
        rank=4,
    )
    write_manifest(folder, manifest)
    return folder
