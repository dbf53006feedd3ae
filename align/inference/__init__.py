"""Generation and scoring for many adapters on one base model."""

from __future__ import annotations

from align.inference.types import Completion, Engine, GenerationRequest, OnText

__all__ = ["Completion", "Engine", "GenerationRequest", "OnText", "load_engine"]


def load_engine(base: str) -> Engine:
    """An engine on the base model named by `base` (see `align.base.load_base`)."""
    from align.base import load_base
    from align.inference.peft_engine import PeftEngine

    return PeftEngine(load_base(base))
