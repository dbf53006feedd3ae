"""Adapter folders as plain LoRA factors, whatever PEFT options they were saved with."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from align.adapters.folder import CONFIG, TENSORS, read_config
from align.errors import AdapterError

PREFIX = "base_model.model."
SCORE = f"{PREFIX}score.weight"

#: PEFT's options whose effect is not a sum of low-rank updates of the base's linear layers.
NOT_A_SUM = (
    "use_dora", "lora_bias", "alora_invocation_tokens", "use_qalora", "use_bdlora", "arrow_config",
    "kasa_config", "monteclora_config", "layer_replication", "target_parameters",
    "trainable_token_indices",
)  # fmt: skip
#: Values of `init_lora_weights` that leave the base's weights as they are.
PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva", "mica")


@dataclass
class LoraFactors:
    """An adapter's deltas: for each module, `x @ A.T @ B.T` with A (r, in) and B (out, r).

    Scaling is folded into B, so factors of several adapters can be concatenated. Tensors are
    fp32. `score` is a reward head of shape (1, hidden), or None.
    """

    modules: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    score: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        """The largest rank over the modules."""
        return max((a.shape[0] for a, _ in self.modules.values()), default=0)

    def to(self, device: torch.device) -> LoraFactors:
        """The same adapter on `device`; tensors that are there already are shared."""
        modules = {name: (a.to(device), b.to(device)) for name, (a, b) in self.modules.items()}
        return LoraFactors(modules, None if self.score is None else self.score.to(device))

    def stacked_on(self, parent: LoraFactors | None) -> LoraFactors:
        """The sum of the parent's and these deltas as a single adapter: `[A1; A2]`, `[B1, B2]`.

        Both must be on the same device; see `to`.
        """
        if parent is None:
            return self
        stacked = dict(parent.modules)
        for name, (a, b) in self.modules.items():
            if name in stacked:
                pa, pb = stacked[name]
                a, b = torch.cat([pa, a]), torch.cat([pb, b], dim=1)
            stacked[name] = (a, b)
        return LoraFactors(stacked, self.score)


def read_factors(folder: Path) -> LoraFactors:
    """The factors of a PEFT LoRA folder, in a CPU's memory.

    AdapterError names what is damaged or not supported.
    """
    config = read_config(folder)
    _refuse(folder, config)
    try:
        tensors = load_file(folder / TENSORS)
    except FileNotFoundError:
        raise AdapterError(f"{folder}: no {TENSORS}; only safetensors adapters are taken") from None
    except SafetensorError as error:
        raise AdapterError(f"{folder / TENSORS}: damaged: {error}") from None
    factors = LoraFactors()
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise AdapterError(f"{folder}: tensor {key} holds NaN or infinite values")
        if key == SCORE:
            factors.score = tensor.float()
        elif key.endswith(".lora_A.weight"):
            name = key.removeprefix(PREFIX).removesuffix(".lora_A.weight")
            b = tensors.get(f"{PREFIX}{name}.lora_B.weight")
            if b is None or b.shape[1] != tensor.shape[0]:
                raise AdapterError(f"{folder}: {name}: lora_A without a lora_B of the same rank")
            factors.modules[name] = (tensor.float(), b.float() * scaling(config, name))
        elif not key.endswith(".lora_B.weight"):
            raise AdapterError(f"{folder}: tensor {key} is neither LoRA nor a reward head")
    return factors


def _refuse(folder: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise AdapterError(f"{folder}: peft_type {config.get('peft_type')!r}; only LORA composes")
    for option in NOT_A_SUM:
        if config.get(option):
            raise AdapterError(f"{folder}: {option} is set; its effect is not a sum of deltas")
    # PiSSA, OLoRA, LoftQ and others change the base's weights too, which the folder lacks.
    if (start := config.get("init_lora_weights", True)) not in PLAIN_STARTS:
        raise AdapterError(
            f"{folder}: init_lora_weights={start!r} goes with other base weights; allowed: true, "
            "false, 'gaussian', 'orthogonal', 'eva', 'mica'. Save it converted: PEFT's "
            "save_pretrained with path_initial_model_for_weight_conversion"
        )
    if config.get("bias", "none") != "none":
        raise AdapterError(f"{folder}: bias={config['bias']!r}; trained biases do not compose")


def scaling(config: Mapping[str, Any], module: str) -> float:
    """PEFT's factor for a module: alpha / r, or alpha / sqrt(r) with rsLoRA."""
    r = by_pattern(config.get("rank_pattern") or {}, module, config["r"])
    alpha = by_pattern(config.get("alpha_pattern") or {}, module, config["lora_alpha"])
    return float(alpha) / (math.sqrt(r) if config.get("use_rslora") else r)


def by_pattern(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    """The value of the first pattern that matches the end of the module's name, as in PEFT."""
    for pattern, value in patterns.items():
        if _compiled(pattern).match(module):
            return value
    return default


def name_rule(pattern: str) -> str:
    """The expression by which PEFT compares a key of `rank_pattern` with a module's name."""
    return rf"(.*\.)?({pattern})$"


@lru_cache(maxsize=2**12)  # EVA names every module; `re` itself caches 512
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(name_rule(pattern))


def write_factors(
    folder: Path, factors: LoraFactors, base: str, revision: str | None = None
) -> None:
    """Write a plain PEFT folder with exactly these factors.

    `base` and `revision` are how others find the base. `lora_alpha` equals the rank (scaling is in
    B); modules of other ranks get anchored patterns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, (a, b) in factors.modules.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = a.contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = b.contiguous()
    if factors.score is not None:
        tensors[SCORE] = factors.score.contiguous()
    save_file(tensors, folder / TENSORS, metadata={"format": "pt"})
    text = json.dumps({**_config(factors, base), "revision": revision}, indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _config(factors: LoraFactors, base: str) -> dict[str, Any]:
    rank = factors.rank
    other_ranks = {
        f"^{re.escape(name)}$": a.shape[0]
        for name, (a, _) in sorted(factors.modules.items())
        if a.shape[0] != rank
    }
    reward = factors.score is not None
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if reward else "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "fan_in_fan_out": False,
        "target_modules": sorted(factors.modules),
        "modules_to_save": ["score"] if reward else None,
        "rank_pattern": other_ranks,
        "alpha_pattern": dict(other_ranks),
    }
