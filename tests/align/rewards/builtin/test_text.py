"""Rewards of the text alone, on answers worked out by hand."""

import pytest

from tests.align.rewards.scoring import value


@pytest.mark.parametrize(
    ("raw", "text", "expected"),
    [
        ({"brevity": 1}, "x" * 50, 0.75),
        ({"brevity": 1}, "x" * 201, 0.0),
        ({"format": {"weight": 1, "pattern": "^<think>.*</think>"}}, "<think>a\nb</think> 7", 1.0),
        ({"format": {"weight": 1, "pattern": "^<think>.*</think>$"}}, "<think>a</think> 7", 0.0),
        ({"format": {"weight": 1, "pattern": "^b"}}, "a\nb", 0.0),
        ({"format": {"weight": 1, "pattern": r"\d"}}, "it is 7.", 1.0),
        ({"length": 1}, "x" * 200, 1.0),
        ({"length": {"weight": 1, "target": 10}}, "x" * 15, 0.5),
        ({"length": {"weight": 1, "target": 10}}, "x" * 20, 0.0),
        ({"length": {"weight": 1, "target": 10}}, "x" * 99, 0.0),
        ({"repetition": 1}, "one two three four", 1.0),
        ({"repetition": {"weight": 1, "ngram": 1}}, "a b a b", 0.5),
        ({"repetition": {"weight": 1, "ngram": 2}}, "a b a b a", 0.5),
        ({"repetition": 1}, "a b", 1.0),
    ],
)
def test_rewards_of_the_text_alone(raw, text, expected):
    assert value(raw, text) == pytest.approx(expected)
