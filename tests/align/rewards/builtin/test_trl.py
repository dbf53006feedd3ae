"""TRL's own rewards give what they give in TRL."""

from __future__ import annotations

import inspect
import math

import pytest

from align.errors import DataError
from align.rewards.base import TOKENS, RewardConfig
from align.rewards.builtin import BUILTIN
from align.rewards.builtin.trl import TrlReward
from tests.align.rewards.scoring import OPTIONS, parts

IDS = [[1, 2, 1, 2, 1, 2], [1, 2, 3], [1] * 9]
TEXTS = ["<think>a</think> b", "no", "<think>\n</think>"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("think_format_reward", {}),
        ("get_repetition_penalty_reward", {"ngram_size": 2}),
        ("get_soft_overlong_punishment", {"max_completion_len": 8, "soft_punish_cache": 4}),
    ],
)
def test_trls_own_are_trls(name, options):
    from trl import rewards as trl

    function = getattr(trl, name)
    function = function(**options) if options else function
    completions = [[{"role": "assistant", "content": text}] for text in TEXTS]
    expected = function(completions=completions, completion_ids=IDS)
    assert len(set(expected)) > 1
    found, _ = parts({name: {"weight": 1, **options}}, TEXTS, {"completion_ids": IDS})
    assert found[name] == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("accuracy_reward", {}),
        ("reasoning_accuracy_reward", {"reasoning_delimiters": ["</thought>"]}),
        ("get_cosine_scaled_reward", {"max_len": 10}),
    ],
)
def test_trls_mathematical_ones_take_the_answer_as_solution(name, options):
    pytest.importorskip("math_verify")
    from trl import rewards as trl

    texts = [r"x</thought> \boxed{\frac{1}{2}}", r"y</thought> $\frac{1}{3}$", "</thought> no"]
    answers = [r"\frac{2}{4}", r"\frac{1}{2}", ""]
    function, more = getattr(trl, name), options
    if name.startswith("get_"):
        function, more = function(**options), {}
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    expected = function(completions=completions, solution=answers, completion_ids=IDS, **more)
    assert expected[0] != expected[1] and expected[2] is None
    columns = {"answer": answers, "completion_ids": IDS}
    found, rewards = parts({name: {"weight": 1, **options}}, texts, columns)
    assert found[name][:2] == expected[:2] and math.isnan(found[name][2])
    assert "returned None" in rewards.failures[0].error


def test_every_name_of_trl_rewards_can_be_used():
    from trl import rewards as trl

    functions = {name for name in trl.__all__ if not name.endswith("_rewards")}  # modules
    assert len(functions) >= 6 and functions <= set(BUILTIN)


def test_tokens_are_counted_outside_of_training_too():
    raw = {
        "get_soft_overlong_punishment": {
            "weight": 1,
            "max_completion_len": 4,
            "soft_punish_cache": 2,
        }
    }
    found, _ = parts(raw, ["abc", "abcdefgh"], tokenize=list)
    assert found["get_soft_overlong_punishment"] == [-0.5, -1.0]
    with pytest.raises(DataError, match="needs the column completion_ids"):
        parts(raw, ["abc"])


@pytest.mark.parametrize("name", [one for one in BUILTIN if issubclass(BUILTIN[one], TrlReward)])
def test_options_of_trls_rewards_are_arguments_of_trls_functions(name: str) -> None:
    from trl import rewards

    function = getattr(rewards, name)
    arguments = inspect.signature(function).parameters
    options = BUILTIN[name].model_fields.keys() - RewardConfig.model_fields.keys()
    assert options <= arguments.keys()
    if name.startswith("get_"):
        assert options == arguments.keys()
        function = function(**OPTIONS.get(name, {"ngram_size": 3, "max_penalty": -1.0}))
    takes = inspect.signature(function).parameters
    kind = BUILTIN[name]
    assert issubclass(kind, TrlReward)
    assert kind.counts_tokens == (TOKENS in takes)
    assert bool(kind.compared) == ("solution" in takes)
