"""Generation and scoring for many adapters on one base model."""

from __future__ import annotations

from align.inference.options import EngineOptions
from align.inference.types import (
    Completion,
    Engine,
    GenerationRequest,
    OnText,
    TokenLogprobs,
    Update,
)

__all__ = [
    "Completion",
    "Engine",
    "EngineOptions",
    "GenerationRequest",
    "OnText",
    "TokenLogprobs",
    "Update",
    "load_engine",
]


def load_engine(base: str, options: EngineOptions | None = None) -> Engine:
    """An engine on the base model named by `base` (see `align.base.load_base`), ready to serve.

    ModelError or RequestError if the base or the options cannot be used.
    """
    from align.base import load_base
    from align.inference.engine import BankEngine

    engine = BankEngine(load_base(base), options)
    engine.capture_graphs()
    return engine
