"""The rewards of a recipe: how they are written, and what is said about wrong ones."""

import pytest

from align.recipe.rewards import configure
from align.rewards.base import RewardConfig


def test_configs_travel_as_json_and_keep_their_options():
    raw = {
        "correctness": 1,
        "format": {"weight": -0.5, "pattern": "a"},
        "repetition": {"weight": 1},
    }
    configs = configure(raw)
    assert (
        configure({name: one.model_dump(mode="json") for name, one in configs.items()}) == configs
    )
    assert configs["format"].weight == -0.5 and configs["repetition"].ngram == 3
    assert isinstance(configs["correctness"], RewardConfig)


def test_a_factor_travels_and_configs_without_a_factor_are_dumped_as_before():
    configs = configure({"correctness": 1, "brevity": {"weight": 0.2, "times": "correctness"}})
    dumped = {name: config.model_dump(mode="json") for name, config in configs.items()}
    assert dumped == {
        "correctness": {"weight": 1.0, "verify": "auto"},
        "brevity": {"weight": 0.2, "times": "correctness"},
    }
    assert configure(dumped) == configs


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"corectness": 1}, "unknown reward 'corectness'; did you mean 'correctness'.*brevity"),
        ({"zzz": 1}, "unknown reward 'zzz'; allowed: .*python: 'module:function'"),
        ({"format": 0.5}, r"format needs 'pattern': write format: \{weight: …, pattern: …\}"),
        ({"format": {"weight": 1, "pattern": "a(b"}}, "unterminated subpattern at position 1"),
        ({"format": {"weight": 1, "pattern": "a", "patern": 1}}, "did you mean 'pattern'"),
        ({"brevity": {"weight": 1, "x": 1}}, "brevity has no option 'x'; allowed: weight"),
        ({"brevity": float("nan")}, "brevity.weight: .*finite"),
        ({"brevity": float("inf")}, "brevity.weight: .*finite"),
        ({"brevity": "much"}, "brevity.weight: .*got 'much'"),
        ({"length": {"weight": 1, "target": 0}}, "length.target: .*got 0"),
        ({"own": {"weight": 1, "python": "nofunction"}}, "own.python: 'module:function' is wanted"),
        ({"correctness": {"weight": 1, "python": "m:f"}}, "another name"),
        (["correctness"], "names with weights"),
        (
            {"correctness": 1, "brevity": {"weight": 1, "times": "corectness"}},
            "brevity.times: another reward .*did you mean 'correctness'.*got 'corectness'",
        ),
        (
            {"brevity": {"weight": 1, "times": "brevity"}},
            "brevity.times: .*allowed: none; got 'brevity'",
        ),
        (
            {"reward_model": 1, "brevity": {"weight": 1, "times": "reward_model"}},
            "no reward_model; allowed: none; got 'reward_model'",
        ),
        (
            {
                "correctness": 1,
                "brevity": {"weight": 1, "times": "correctness"},
                "length": {"weight": 1, "times": "brevity"},
            },
            "length.times: .*allowed: correctness; got 'brevity'",
        ),
    ],
)
def test_wrong_rewards_name_what_is_allowed(raw, message):
    with pytest.raises(ValueError, match=message) as caught:
        configure(raw)
    assert "\n" not in str(caught.value)
