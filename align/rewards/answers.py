"""Rewards that are pure functions of an answer's text. Imports no torch."""

from __future__ import annotations

import re
from typing import Literal

from align.rewards import mathematics

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def last_number(text: str) -> str | None:
    """The last number in a text, without thousands separators; None if there is none."""
    numbers = NUMBER.findall(re.sub(r"(?<=\d),(?=\d{3})", "", text))
    return numbers[-1] if numbers else None


def correctness(
    text: str, answer: str, verify: Literal["auto", "numbers", "math"] = "auto"
) -> float:
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


def brevity(text: str) -> float:
    """From 1.0 for nothing down to 0.0 for 200 characters and more: max(0, 1 - characters/200)."""
    return max(0.0, 1 - len(text) / 200)


def matches(text: str, pattern: str) -> float:
    """1.0 if the regular expression matches in the text, else 0.0.

    A dot matches a newline too; ^ and $ match the text's ends. `re.error` if the pattern is
    invalid.
    """
    return float(re.search(pattern, text, re.DOTALL) is not None)


def within(text: str, target: int) -> float:
    """1.0 up to `target` characters, then falling linearly to 0.0 at twice as many."""
    return min(1.0, max(0.0, 2 - len(text) / target))


def repeated(text: str, ngram: int) -> float:
    """The share of a text's word n-grams that occurred earlier in it; 0.0 if it has none.

    1 - unique / all, as in Yeo et al., Demystifying Long Chain-of-Thought Reasoning, appendix C.2
    (arXiv 2502.03373), who count tokens.
    """
    words = text.split()
    ngrams = [tuple(words[start : start + ngram]) for start in range(len(words) - ngram + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0
