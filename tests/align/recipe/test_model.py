"""A recipe's stages as a chain: ranks that add up, adapters of other recipes."""

from typing import Any

import pytest

from align.errors import RecipeError
from align.methods import MethodName
from align.recipe import Recipe, parse_recipe
from align.recipe.model import is_reference
from tests.align.recipe.raw import changed
from tests.align.recipe.stages import Raw, recipe, refusal, stage


def test_ranks_of_a_chain_add_up() -> None:
    def ranked(method: MethodName, ranks: list[int], **links: Any) -> Raw:
        return stage(method, lora={"r": {"choice": ranks}}, **links)

    sft, dpo = ranked("sft", [8, 64]), ranked("dpo", [16, 32], parent="sft")
    reward = ranked("reward", [64], parent="sft")
    assert recipe(sft=sft, dpo=dpo, reward=reward).chain("dpo") == ["dpo", "sft"]
    told = refusal(sft=sft, dpo=dpo, grpo=ranked("grpo", [8, 64], parent="dpo"))
    assert "stages.grpo.lora.r: " in told
    assert "sft 64 + dpo 32 + grpo 64 makes 160, where at most 128 are served" in told


def test_adapters_of_other_recipes_are_no_stages() -> None:
    made = recipe(
        dpo=stage("dpo", parent="chat/sft:3", reward_model="chat/reward@champion"),
        grpo=stage("grpo", parent="dpo", reward_model="chat/reward@champion"),
    )
    assert made.order() == ["dpo", "grpo"]
    assert (made.needs("dpo"), made.needs("grpo")) == ([], ["dpo"])
    assert made.references("dpo") == {
        "parent": "chat/sft:3",
        "reward_model": "chat/reward@champion",
    }
    assert made.references("grpo") == {"reward_model": "chat/reward@champion"}
    assert made.chain("grpo") == ["grpo", "dpo"]
    assert Recipe.model_validate_json(made.model_dump_json()) == made
    assert not is_reference("sft") and not is_reference(None)


@pytest.mark.parametrize(
    "name", ["sft:3", "chat/sft:0", "chat/sft@", "chat/sft:latest", ":", "a/b/c:1"]
)
def test_a_name_that_no_adapter_can_have(name: str) -> None:
    told = refusal(dpo=stage("dpo", parent=name))
    assert f"stages.dpo.parent: '{name}' is no adapter's name; expected <recipe>/<stage>:" in told


def test_an_unknown_stage_says_that_adapters_can_be_named_too() -> None:
    told = refusal(dpo=stage("dpo", parent="sftt"))
    assert "unknown stage 'sftt'; allowed: dpo, or a registered adapter such as" in told


def test_steps_count_epochs_over_whole_batches() -> None:
    raw = changed("data", {"task": "arithmetic", "train": 300})
    raw["stages"]["sft"] |= {"max_steps": None, "num_train_epochs": 2}
    assert parse_recipe(raw).steps("sft") == 75


def test_stages_come_after_those_that_they_need() -> None:
    made = recipe(
        grpo=stage("grpo", parent="dpo", reward_model="judge"),
        dpo=stage("dpo", parent="sft"),
        judge=stage("reward", parent="sft"),
        sft=stage("sft"),
    )
    assert made.order() == ["sft", "dpo", "judge", "grpo"]
    assert made.needs("grpo") == ["dpo", "judge"]
    assert made.chain("grpo") == ["grpo", "dpo", "sft"]
    assert made.line("grpo") == "tiny/grpo"


def test_stages_that_need_each_other_are_told() -> None:
    told = refusal(
        a=stage("dpo", parent="b"), b=stage("dpo", parent="c"), c=stage("dpo", parent="b")
    )
    assert "stages.b.parent: stages need each other in a circle: b -> c -> b" in told


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (
            {"reward_model": "sft"},
            "'sft' is a sft stage; a stage of method reward is needed",
        ),
        ({"parent": "judge"}, "stages.dpo.parent: a reward model cannot be a parent"),
    ],
)
def test_a_stage_is_linked_to_what_it_can_use(links: Raw, message: str) -> None:
    assert message in refusal(sft=stage("sft"), judge=stage("reward"), dpo=stage("dpo", **links))


def test_rows_are_the_stages_own_or_the_recipes() -> None:
    made = recipe(sft=stage("sft"), dpo=stage("dpo", data={"task": "arithmetic", "train": 8}))
    assert (made.data_of("sft").train, made.data_of("dpo").train) == (64, 8)
    raw = made.model_dump(mode="json")
    with pytest.raises(RecipeError, match=r"stages\.sft: no data here nor at the top"):
        parse_recipe({**raw, "data": None})


def test_layers_of_the_base_in_fp32_are_parts_of_their_names() -> None:
    def with_fp32(*names: str) -> Recipe:
        return parse_recipe(changed("fp32_modules", list(names)))

    assert recipe(sft=stage("sft")).fp32_modules == []
    assert with_fp32("mlp", "layers.3.self_attn.o_proj").fp32_modules[0] == "mlp"
    for name in ("", "mlp.", "layers.*", "layers.3.self_attn.q_proj", "k_proj"):
        with pytest.raises(RecipeError, match=r"fp32_modules.*such as mlp.*without k_proj"):
            with_fp32(name)
