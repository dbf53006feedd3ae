"""The first scale of the loss under fp16.

A gradient that overflows fp16 skips its step and halves the scale. torch starts at 2^16, at which
the first steps of a language model's training usually overflow, and short trials would lose a part
of their steps. At 2^12 gradients from about 1e-11 on are still not rounded to zero.
"""

from __future__ import annotations

from typing import Any

FIRST_SCALE = 2.0**12


def lower_first_scale(trainer: Any) -> None:
    """Let a trainer under fp16 start at FIRST_SCALE; a resumed run goes on with its own scale."""
    scaler = trainer.accelerator.scaler
    if scaler is not None:
        scaler.load_state_dict({**scaler.state_dict(), "scale": FIRST_SCALE})
