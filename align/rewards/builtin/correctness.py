"""The reward of a right answer."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from align.rewards import mathematics
from align.rewards.base import AnswerReward, ScoredAnswer, Scorer

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
Verify = Literal["auto", "numbers", "math"]


class Correctness(AnswerReward):
    """1 if the answer is right, else 0.

    `numbers` compares the last number in the text with the last of the column `answer`; `math`
    parses both as mathematics with math-verify (the extra `math`), so that 1/2 equals 0.5; `auto`
    uses `math` for answers that are expressions, such as x^2+1, if math-verify is installed.
    """

    compared: ClassVar[tuple[str, ...]] = ("answer",)

    verify: Verify = "auto"

    def scorer(self, name: str) -> Scorer:
        """`score`. RecipeError for `math` without math-verify."""
        if self.verify == "math":
            mathematics.check_installed(f"reward '{name}' with verify: math")
        return super().scorer(name)

    def score(self, answer: ScoredAnswer) -> float:
        """See `correctness`."""
        return correctness(answer.text, str(answer.column("answer")), self.verify)


def last_number(text: str) -> str | None:
    """The last number in a text, without thousands separators; None if there is none."""
    numbers = NUMBER.findall(re.sub(r"(?<=\d),(?=\d{3})", "", text))
    return numbers[-1] if numbers else None


def correctness(text: str, answer: str, verify: Verify = "auto") -> float:
    """1.0 if the text ends in the answer, else 0.0.

    `numbers` compares the last numbers of both; `math` reads both as mathematics with
    math-verify; `auto` does that where the answer is an expression, math-verify is installed and
    can read it. With `math`, RecipeError if it is not installed and ValueError if the answer
    cannot be read.
    """
    if verify == "math":
        if not mathematics.is_expression(answer) and _same_number(text, answer):
            return 1.0
        return float(mathematics.equal(text, answer))
    if verify == "auto" and mathematics.is_expression(answer) and mathematics.installed():
        try:
            return float(mathematics.equal(text, answer))
        except ValueError:
            pass
    return float(_same_number(text, answer))


def _same_number(text: str, answer: str) -> bool:
    last, expected = last_number(text), last_number(answer)
    return last is not None and expected is not None and float(last) == float(expected)
