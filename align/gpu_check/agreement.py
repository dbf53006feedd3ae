"""Whether two ways of computing the same completions agree, within the rounding of a dtype."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from align.inference.types import Completion

#: The largest difference of a token's log-probability (nats) between batches of other sizes, by
#: dtype: other sizes take other kernels, which round differently.
TOLERANCE = {"float32": 1e-3, "float16": 0.03, "bfloat16": 0.25}


@dataclass(frozen=True)
class Agreement:
    """`largest` difference of a log-probability in nats, and the numbers of two kinds of pairs.

    `ties` went different ways at tokens whose log-probabilities differ by less than the tolerance,
    which rounding decides. `wrong` differ beyond the tolerance.
    """

    largest: float
    ties: int
    wrong: int


def compare(
    first: Sequence[Completion], second: Sequence[Completion], tolerance: float
) -> Agreement:
    """Compare greedy completions of the same requests, made with `logprobs=0` or more.

    Completions are compared up to the token at which they part.
    """
    largest, ties, wrong = 0.0, 0, 0
    for one, other in zip(first, second, strict=True):
        difference, parted = _difference(one, other)
        largest = max(largest, difference)
        ties += parted and difference <= tolerance
        wrong += not difference <= tolerance  # NaN is wrong
    return Agreement(largest, ties, wrong)


def _difference(one: Completion, other: Completion) -> tuple[float, bool]:
    """The largest difference up to the first token that differs, and whether there is such a token.

    Where two greedy completions part, each has chosen what it takes for the likeliest token, so
    that the difference of the two log-probabilities bounds their disagreement from below.
    """
    largest = 0.0
    tokens = zip(_tokens(one), _tokens(other), one.logprobs, other.logprobs, strict=False)
    for token, another, here, there in tokens:
        difference = abs(here.logprob - there.logprob)
        largest = difference if difference != difference else max(largest, difference)
        if token != another:
            return largest, True
    return largest, len(one.logprobs) != len(other.logprobs)


def _tokens(completion: Completion) -> list[int]:
    ended = [] if completion.ended is None else [completion.ended]
    return [*completion.token_ids, *ended]
