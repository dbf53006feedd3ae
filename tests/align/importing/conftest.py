"""Adapters of PEFT's kinds on the tiny base, with random weights that do something."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig, get_peft_model

from align.base import Base

Make = Callable[[PeftConfig], Path]


@pytest.fixture
def foreign(tiny: Base, tmp_path: Path) -> Make:
    """Save a random adapter of this config; its own config names `tiny-random` as the base."""

    def make(config: PeftConfig) -> Path:
        torch.manual_seed(0)
        model = get_peft_model(copy.deepcopy(tiny.model), config)  # PiSSA changes the weights
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.2)
        folder = tmp_path / "foreign"
        model.save_pretrained(folder)
        configure(folder, base_model_name_or_path="tiny-random")
        return folder

    return make


def configure(folder: Path, **entries: Any) -> None:
    """Change entries of a folder's adapter_config.json; None removes an entry."""
    path = folder / "adapter_config.json"
    config = {**json.loads(path.read_text()), **entries}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
