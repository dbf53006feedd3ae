"""A run that began in fp16 goes on where training is not in fp16.

transformers 5.23 loads `scaler.pt` of a checkpoint into the loss's scaler also where there is none
(`Trainer._load_scaler`), which ends in an AttributeError. In a pool of T4s and newer cards a trial
may move between them. transformers is asked to load it only into a scaler.
"""

from __future__ import annotations

from typing import Any


def ignore_missing_scaler(trainer: Any) -> None:
    """Let a trainer without a scaler resume from a checkpoint that has the state of a scaler."""
    if trainer.accelerator.scaler is None:
        trainer._load_scaler = _load_nothing


def _load_nothing(_checkpoint: str | None) -> None:
    """In place of `Trainer._load_scaler`."""
