"""Gives up what this process holds of a card, so that other processes have room there."""

from __future__ import annotations

import gc

import torch

from align.base import load_base
from align.evaluation import systems
from align.training import trial


def release() -> None:
    """Free the base, the engine and all that earlier checks left on the card."""
    trial.forget_shared()
    systems.forget_shared()
    load_base.cache_clear()
    gc.unfreeze()
    gc.collect()  # an engine and its graphs refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
