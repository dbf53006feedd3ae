"""Rewards of an answer: checked correctness, brevity, a trained reward model. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from align.inference.types import Engine

Messages = Sequence[dict[str, str]]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def last_number(text: str) -> str | None:
    """The last number in a text, without thousands separators; None if there is none."""
    found = NUMBER.findall(re.sub(r"(?<=\d),(?=\d{3})", "", text))
    return found[-1] if found else None


def correctness(text: str, answer: str) -> float:
    """1.0 if the last number in the text is the answer, else 0.0."""
    last, right = last_number(text), last_number(answer)
    if last is None or right is None:
        return 0.0
    return float(float(last) == float(right))


def brevity(text: str) -> float:
    """From 1.0 for nothing down to 0.0 for 200 characters and more: max(0, 1 - characters/200)."""
    return max(0.0, 1 - len(text) / 200)


@dataclass(frozen=True)
class Judge:
    """A reward adapter that an engine has loaded.

    `mean` and `std` are of its scores of the chosen answers on its validation pairs. Raw scores
    have no scale: without this, a model that has learned style first would call every answer in
    that style perfect.
    """

    engine: Engine
    adapter: str
    mean: float = 0.0
    std: float = 1.0

    def preference(self, score: float) -> float:
        """Where a score stands among good answers: the logistic of its z-score, in (0, 1)."""
        z = (score - self.mean) / self.std
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, z))))


class Rewards:
    """The weighted rewards of a recipe; without a judge, those that need none."""

    def __init__(self, weights: dict[str, float], judge: Judge | None = None):
        self.weights = dict(weights)
        if judge is None:
            self.weights.pop("reward_model", None)
        self._judge = judge

    def parts(
        self, prompts: Sequence[Messages], texts: Sequence[str], answers: Sequence[str]
    ) -> dict[str, list[float]]:
        """Each reward by name, unweighted, one value for each text."""
        return {name: self.part(name, prompts, texts, answers) for name in self.weights}

    def part(
        self,
        name: str,
        prompts: Sequence[Messages],
        texts: Sequence[str],
        answers: Sequence[str],
    ) -> list[float]:
        """One reward, unweighted, for each text."""
        if name == "correctness":
            return [correctness(text, answer) for text, answer in zip(texts, answers, strict=True)]
        if name == "brevity":
            return [brevity(text) for text in texts]
        judge = self._judge
        assert judge is not None  # __init__ dropped the weight otherwise
        answered = [
            [*prompt, {"role": "assistant", "content": text}]
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        return [judge.preference(score) for score in judge.engine.score(answered, judge.adapter)]

    def total(self, parts: dict[str, list[float]]) -> list[float]:
        """The weighted sum for each text."""
        rows = zip(*parts.values(), strict=True)
        return [
            sum(self.weights[name] * value for name, value in zip(parts, row, strict=True))
            for row in rows
        ]
