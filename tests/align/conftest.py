"""A tiny base in fp32, so that equalities can be tight, its tokenizer, and adapters made on it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer

from align.base import Base, load_base, model_source


@pytest.fixture(scope="session")
def tiny() -> Base:
    base = load_base("tiny-random")
    # A copy: a shell shares its tensors, and `float()` would change those of every other test.
    return replace(base, model=copy.deepcopy(base.model).float())


@pytest.fixture
def make_adapter(tiny: Base, tmp_path: Path) -> Callable[..., Path]:
    """Save a random (not zero) PEFT adapter; keyword arguments are LoraConfig's."""

    def make(name: str, seed: int, scale: float = 0.3, **lora: Any) -> Path:
        torch.manual_seed(seed)
        options = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **lora}
        model = get_peft_model(tiny.shell(), LoraConfig(task_type="CAUSAL_LM", **options))
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(parameter, std=scale)
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(model_source("tiny-random"))
