"""Stages that build on each other."""

import functools

import pytest

from align.recipe import parse_recipe
from cluster.registry import open_registry
from sweeps.errors import SweepError
from sweeps.pipeline import run_pipeline
from sweeps.run_store import choose
from tests.sweeps.toy_recipe import FAKE, RECIPE


@pytest.fixture
def pipeline(local_ray, settings, recipe):
    return functools.partial(run_pipeline, settings, recipe, factory=FAKE, max_concurrent=1)


def test_each_stage_builds_on_the_best_before_it_and_is_promoted(pipeline, settings, calls):
    results = pipeline(promote=True)
    assert list(results) == ["sft", "reward", "grpo"]
    registry = open_registry(settings)
    for stage, result in results.items():
        assert registry.resolve(f"toy/{stage}@champion").adapter_id == result.version.adapter_id
        assert result.study in registry.history(f"toy/{stage}")[0].reason
    sft, reward = (str(registry.folder(results[name].version)) for name in ("sft", "reward"))
    used = [tuple(call["parents"]) for call in calls("publish")]
    assert used[-1] == (sft, reward)

    # One stage alone takes the champion; the same sweep again is reused, and stays champion.
    again = pipeline(["grpo"], promote=True)
    assert again["grpo"].study == results["grpo"].study
    assert len(registry.history("toy/grpo")) == 1


def test_a_stage_whose_parent_is_missing_names_the_command(pipeline):
    with pytest.raises(SweepError, match=r"`alignery sweep run RECIPE --only sft`"):
        pipeline(["grpo"])


def naming(**stages):
    """The toy recipe, each stage's fields changed."""
    changed = {name: {**stage, **stages.get(name, {})} for name, stage in RECIPE["stages"].items()}
    return parse_recipe({**RECIPE, "stages": changed})


def test_stages_build_on_registered_adapters_that_they_name(local_ray, settings, register, calls):
    parent, judge = register("chat/sft"), register("chat/reward", method="reward")
    registry = open_registry(settings)
    registry.promote("chat/reward", 1)
    named = naming(grpo={"parent": "chat/sft:1", "reward_model": "chat/reward@champion"})
    results = run_pipeline(settings, named, ["grpo"], factory=FAKE, max_concurrent=1)
    assert list(results) == ["grpo"]
    folders = tuple(str(registry.folder(one)) for one in (parent, judge))
    assert {tuple(call["parents"]) for call in calls("publish")} == {folders}


@pytest.mark.parametrize(
    ("parent", "reward_model", "message"),
    [
        ("chat/sft:7", "reward", r"stages.grpo.parent: there is no adapter 'chat/sft:7'; did you"),
        ("chat/sft@best", "reward", "stages.grpo.parent: chat/sft has no alias 'best'"),
        ("chat/reward:1", "reward", "chat/reward:1 is a reward model, which cannot be a parent"),
        ("sft", "chat/sft:1", "stages.grpo.reward_model: chat/sft:1 is of method sft; a reward m"),
        ("other/sft:1", "reward", "was trained on base 'llama'.*name an adapter of this base"),
        ("changed/sft:1", "chat/reward:1", "different weights that were both called 'tiny-random'"),
        ("tall/sft:1", "reward", r"tall/sft:1 120 \+ grpo 16 makes 136, where at most 128"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_before_anything_starts(
    settings, register, parent, reward_model, message
):
    register("chat/sft")
    register("chat/reward", method="reward")
    register("other/sft", base="llama")
    register("changed/sft", base_digest="1" * 64)
    register("tall/sft", rank=120)
    lora = {"r": {"choice": [8, 16]}}
    named = naming(grpo={"parent": parent, "reward_model": reward_model, "lora": lora})
    with pytest.raises(SweepError, match=message):
        run_pipeline(settings, named, None)  # without Ray: nothing gets as far


def test_stages_run_in_an_order_that_fits(recipe):
    assert choose(recipe, None) == ["sft", "reward", "grpo"]
    assert choose(recipe, ["grpo", "sft"]) == ["sft", "grpo"]
    with pytest.raises(SweepError, match="no stage 'dpo'; it has sft, reward, grpo"):
        choose(recipe, ["dpo"])
