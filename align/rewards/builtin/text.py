"""Rewards of an answer's text alone."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from align.rewards.base import AnswerReward, ScoredAnswer


class Brevity(AnswerReward):
    """From 1 for nothing down to 0 for 200 characters and more."""

    def score(self, answer: ScoredAnswer) -> float:
        """See `brevity`."""
        return brevity(answer.text)


class Format(AnswerReward):
    """1 if the regular expression is found in the text (`re.search`), else 0.

    A dot also matches a newline; ^ and $ are the ends of the whole text, so both together require a
    full match.
    """

    pattern: str

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise ValueError(
                f"no regular expression: {error.msg} at position {error.pos} of {pattern!r}"
            ) from None
        return pattern

    def score(self, answer: ScoredAnswer) -> float:
        """1.0 if the pattern matches in the text, else 0.0."""
        return float(re.search(self.pattern, answer.text, re.DOTALL) is not None)


class Length(AnswerReward):
    """1 up to `target` characters, then falling linearly to 0 at `2 * target`."""

    target: int = Field(default=200, ge=1)

    def score(self, answer: ScoredAnswer) -> float:
        """A reward from 0.0 to 1.0."""
        return min(1.0, max(0.0, 2 - len(answer.text) / self.target))


class Repetition(AnswerReward):
    """1 minus the share of the text's word n-grams that repeat an earlier n-gram."""

    ngram: int = Field(default=3, ge=1)

    def score(self, answer: ScoredAnswer) -> float:
        """See `repeated`."""
        return 1 - repeated(answer.text, self.ngram)


def brevity(text: str) -> float:
    """From 1.0 for nothing down to 0.0 for 200 characters and more: max(0, 1 - characters/200)."""
    return max(0.0, 1 - len(text) / 200)


def repeated(text: str, ngram: int) -> float:
    """The share of a text's word n-grams that occurred earlier in it; 0.0 if it has none.

    1 - unique / all, as in Yeo et al., Demystifying Long Chain-of-Thought Reasoning, appendix C.2
    (arXiv 2502.03373), who count tokens.
    """
    words = text.split()
    ngrams = [tuple(words[start : start + ngram]) for start in range(len(words) - ngram + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0
