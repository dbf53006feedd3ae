"""Whether two ways of computing the same completions agree."""

import math

import pytest

from align.gpu_check.agreement import Agreement, compare
from align.inference import Completion, TokenLogprobs


def completion(*tokens: tuple[int, float]) -> Completion:
    return Completion(
        token_ids=[token for token, _ in tokens],
        logprobs=[TokenLogprobs(logprob) for _, logprob in tokens],
    )


def test_the_largest_difference_is_told() -> None:
    first = [completion((1, -1.0), (2, -2.0)), completion((3, -0.5))]
    second = [completion((1, -1.0), (2, -2.25)), completion((3, -0.375))]
    assert compare(first, second, 0.5) == Agreement(0.25, ties=0, wrong=0)
    assert compare(first, second, 0.2) == Agreement(0.25, ties=0, wrong=1)


def test_completions_that_part_at_a_tie_are_compared_up_to_there() -> None:
    first, second = completion((1, -1.0), (2, -0.75), (9, -1.0)), completion((1, -1.0), (3, -0.75))
    assert compare([first], [second], 0.01) == Agreement(0.0, ties=1, wrong=0)
    other = completion((1, -1.0), (3, -1.75), (4, -1.0))
    assert compare([first], [other], 0.01) == Agreement(1.0, ties=0, wrong=1)


def test_no_number_is_wrong() -> None:
    assert compare([completion((1, -1.0))], [completion((1, math.nan))], 9.0).wrong == 1


def test_as_many_completions_are_needed() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare([completion()], [], 1.0)
