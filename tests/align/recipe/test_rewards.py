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
    ],
)
def test_wrong_rewards_name_what_is_allowed(raw, message):
    with pytest.raises(ValueError, match=message) as caught:
        configure(raw)
    assert "\n" not in str(caught.value)
