"""A check, its outcome, and what all checks share. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Verdict = Literal["PASS", "FAIL", "SKIP"]
#: A figure of a check: a number or a name, or several of them by name.
Figure = Any


@dataclass(frozen=True)
class Setting:
    """What is checked: a base on a device, with a folder for temporary files.

    `base` is a reference for `align.base.load_base`. On `cpu` a check does what needs no card.
    """

    base: str
    device: Literal["cuda", "cpu"]
    folder: Path

    @property
    def on_card(self) -> bool:
        """Whether a CUDA card is checked."""
        return self.device == "cuda"


@dataclass(frozen=True)
class Outcome:
    """The result of a check: a verdict, figures by name, and a sentence.

    The sentence of a PASS says what was seen, of a FAIL what is wrong and what to do, of a SKIP
    why nothing was checked.
    """

    verdict: Verdict
    sentence: str
    figures: Mapping[str, Figure] = field(default_factory=dict)


def passed(sentence: str, **figures: Figure) -> Outcome:
    """All is as it should be."""
    return Outcome("PASS", sentence, figures)


def failed(sentence: str, **figures: Figure) -> Outcome:
    """Something is wrong; the sentence says what to do."""
    return Outcome("FAIL", sentence, figures)


def skipped(sentence: str) -> Outcome:
    """Nothing was checked, with the reason."""
    return Outcome("SKIP", sentence)


@dataclass(frozen=True)
class Check:
    """A named check. `run` returns its outcome; an exception is a FAIL.

    `seconds` is about what it takes on a T4, from which the time left is estimated, and
    `cpu_seconds` the same for two slow cores. `card_only` is the reason why it is skipped on a CPU.
    """

    name: str
    run: Callable[[Setting], Outcome]
    seconds: float
    cpu_seconds: float = 0.0
    card_only: str = ""

    def expected(self, setting: Setting) -> float:
        """Seconds that it takes about."""
        return self.seconds if setting.on_card else self.cpu_seconds
