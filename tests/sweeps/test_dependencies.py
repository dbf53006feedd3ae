"""What stages build on that is not searched with them, without Ray."""

import copy

import pytest

from align.recipe import parse_recipe
from align.recipe.lora import MAX_RANK
from cluster.registry import open_registry
from sweeps.dependencies import find_needs
from sweeps.errors import SweepError
from tests.sweeps.toy_recipe import RECIPE


@pytest.fixture
def registry(settings):
    return open_registry(settings)


def toy(**ranks):
    """The toy recipe with these ranks."""
    raw = copy.deepcopy(RECIPE)
    for stage, rank in ranks.items():
        raw["stages"][stage]["lora"] = {"r": rank}
    return parse_recipe(raw)


def names(found):
    return {name: one.name for name, one in found.items()}


def test_a_stage_that_was_searched_before_is_its_champion_else_its_newest_version(
    registry, register
):
    for _ in range(3):
        register("toy/sft")
        register("toy/reward", method="reward")
    assert names(find_needs(registry, toy(), ["grpo"])) == {
        "sft": "toy/sft:3",
        "reward": "toy/reward:3",
    }
    registry.promote("toy/sft", 2)
    registry.promote("toy/reward", 1, alias="best")  # no champion
    assert names(find_needs(registry, toy(), ["grpo"])) == {
        "sft": "toy/sft:2",
        "reward": "toy/reward:3",
    }


def test_what_is_searched_along_is_not_looked_up(registry, register):
    register("toy/sft")
    assert find_needs(registry, toy(), ["sft", "reward", "grpo"]) == {}
    assert set(find_needs(registry, toy(), ["reward", "grpo"])) == {"sft"}


@pytest.mark.parametrize(
    ("stages", "ranks"),
    [
        (["grpo"], {"grpo": 28}),  # the reward model's rank is not stacked
        (["reward", "grpo"], {"reward": 28, "grpo": 28}),
    ],
)
def test_ranks_of_stacked_stages_may_add_up_to_the_largest_and_no_further(
    registry, register, stages, ranks
):
    register("toy/sft", rank=MAX_RANK - 28)
    register("toy/reward", method="reward", rank=MAX_RANK)
    find_needs(registry, toy(**ranks), stages)
    with pytest.raises(SweepError, match=f"toy/sft:1 100 .* makes 129, where at most {MAX_RANK}"):
        find_needs(registry, toy(**ranks | {"grpo": 29}), stages)


def test_the_base_must_be_the_same_under_its_name_and_its_weights(registry, register):
    register("toy/sft", base_digest="1" * 64)
    register("toy/reward", method="reward", base_digest="1" * 64)
    find_needs(registry, toy(), ["grpo"])
    register("toy/reward", method="reward", base_digest="2" * 64)
    with pytest.raises(SweepError, match=r"toy/sft:1 and toy/reward:2 .*111111111111 and 2222222"):
        find_needs(registry, toy(), ["grpo"])
