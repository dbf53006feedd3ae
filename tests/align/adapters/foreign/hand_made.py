"""Adapter folders written tensor by tensor, and a base of two linear layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from align.adapters.foreign.read import BaseShapes

Q = "model.layers.0.self_attn.q_proj"
UP = "model.layers.0.mlp.up_proj"
CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["q_proj"],
    "base_model_name_or_path": "tiny",
}


def lora(module: str = Q, rank: int = 2, out: int = 4, width: int = 6) -> dict[str, torch.Tensor]:
    """PEFT's two tensors of a module, all ones."""
    return {
        f"base_model.model.{module}.lora_A.weight": torch.ones(rank, width),
        f"base_model.model.{module}.lora_B.weight": torch.ones(out, rank),
    }


def write(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **entries: Any) -> Path:
    """A folder of PEFT's form; `entries` go over CONFIG."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(lora() if tensors is None else tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **entries}))
    return folder


WEIGHTS = {"lm_head.weight": torch.arange(30.0).view(5, 6), "model.norm.weight": torch.ones(6)}
BASE = BaseShapes("ours", {Q: (4, 6), UP: (8, 6)}, WEIGHTS.get, 6)
