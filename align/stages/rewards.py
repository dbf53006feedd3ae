"""Rewards of an answer: checked correctness, brevity, a trained reward model. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

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


def sigmoid(score: float) -> float:
    """A reward model's score as a probability of being preferred to an average answer."""
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, score))))


class Rewards:
    """The weighted rewards of a recipe. `judge` is an (engine, adapter id) with a reward head."""

    def __init__(self, weights: dict[str, float], judge: tuple[Engine, str] | None = None):
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
        assert self._judge is not None  # __init__ dropped the weight otherwise
        engine, adapter = self._judge
        answered = [
            [*prompt, {"role": "assistant", "content": text}]
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        return [sigmoid(score) for score in engine.score(answered, adapter)]

    def total(self, parts: dict[str, list[float]]) -> list[float]:
        """The weighted sum for each text."""
        rows = zip(*parts.values(), strict=True)
        return [
            sum(self.weights[name] * value for name, value in zip(parts, row, strict=True))
            for row in rows
        ]
