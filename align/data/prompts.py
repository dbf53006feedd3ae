"""Comparison of prompts: rows with equal prompts are the same problem."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, Any]]


def prompt_key(prompt: str | Messages) -> str:
    """A text that is equal for equal prompts. Roles matter, the amount of whitespace does not."""
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    normalised = [{**turn, "content": " ".join(str(turn["content"]).split())} for turn in turns]
    return json.dumps(normalised, sort_keys=True)


def shown(key: str) -> str:
    """The beginning of the prompt with this key, for a message."""
    text = str(json.loads(key)[-1]["content"])
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
