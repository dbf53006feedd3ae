"""Fields that are wrong together, LoRA that does not compose, adapters of other recipes."""

import re
from typing import Any

import pytest

from align.errors import RecipeError
from align.methods import MethodName
from align.recipe import LoraConfig, Recipe
from align.recipe.lora import MAX_RANK, NOT_COMPOSED
from align.recipe.model import is_reference
from tests.align.recipe.tiny_stages import Raw, one, recipe, stage


def refusal(**stages: Raw) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(**stages)
    assert "\n" not in str(caught.value)
    return str(caught.value)


EPOCHS = {"max_steps": None, "num_train_epochs": 1}
TOGETHER: list[tuple[MethodName, Raw, str]] = [
    ("sft", {"packing": True, **EPOCHS}, "packing: .* use max_steps instead of num_train_epochs"),
    ("sft", {"padding_free": True}, "padding_free needs packing: true"),
    ("sft", {"packing_strategy": "bfd"}, "packing_strategy needs packing: true"),
    ("sft", {"packing": True, "packing_strategy": "wrapped"}, "'wrapped' lets rows see each other"),
    ("sft", {"lr_scheduler_type": "greedy"}, "'greedy' goes by evaluations within training"),
    ("sft", {"lr_scheduler_type": "reduce_lr_on_plateau"}, "goes by evaluations within training"),
    ("sft", {"lr_scheduler_type": "cosine_with_min_lr"}, r"lr_scheduler_kwargs: \{min_lr_rate"),
    ("sft", {"lr_scheduler_type": "warmup_stable_decay"}, "num_decay_steps"),
    (
        "sft",
        {"warmup_steps": 1.5},
        "a whole number of steps, or a share .* got 1.5",
    ),
    ("sft", {"warmup_steps": 20}, "stages.one.warmup_steps: 20 is more than the stage's 12 steps"),
    ("sft", {"dataloader_prefetch_factor": 2}, "needs dataloader_num_workers from 1 on"),
    (
        "sft",
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        "use_reentrant finds no gradient",
    ),
    ("sft", {"gradient_checkpointing_kwargs": {"selective": True}}, "gradient_checkpointing: true"),
    (
        "sft",
        {"dataloader_drop_last": True, "per_device_train_batch_size": 65},
        "64 rows to train on are fewer than 65",
    ),
    ("sft", {"save_steps": 0}, "stages.one.save_steps: .*got 0"),
    ("sft", {"max_length": None}, "stages.one.max_length: .*got None"),
    ("dpo", {"loss_type": ["sigmoid", "sft"], "loss_weights": [1]}, "1 numbers for 2 of loss_type"),
    ("dpo", {"loss_type": "exo_pair"}, "'exo_pair' needs label_smoothing above 0"),
    ("dpo", {"loss_type": "aot", "use_weighting": True}, "use_weighting does not go with"),
    ("dpo", {"loss_type": "aot", "f_divergence_type": "forward_kl"}, "does not go with .* aot"),
    ("dpo", {"padding_free": True}, "padding_free is switched off"),
    ("dpo", {"objective": "win_rate"}, "'win_rate' needs a judge"),
    ("kto", {"per_device_train_batch_size": 1}, "kto needs per_device_train_batch_size from 2 on"),
    ("kto", {"train_sampling_strategy": "random"}, "'random' breaks the pairs"),
    ("kto", {"objective": "nll"}, "allowed: accuracy, reward, win_rate, label_auc"),
    ("grpo", {"rewards": {}}, "grpo needs rewards"),
    ("grpo", {"num_generations": 3}, "num_generations 3 must divide the 8 completions"),
    ("grpo", {"steps_per_generation": 3, "num_generations": 16}, "must divide the 24 completions"),
    ("grpo", {"generation_batch_size": 12}, "8 must divide the 12 completions of generation_batch"),
    (
        "grpo",
        {"generation_batch_size": 16, "steps_per_generation": 2},
        "name one of generation_batch_size and steps_per_generation",
    ),
    (
        "grpo",
        {"generation_batch_size": 256, "num_generations": 2},
        "64 rows to train on are fewer than 128",
    ),
    (
        "grpo",
        {"num_iterations": 4, "sweep": {"rungs": [4, 6]}},
        "rungs: 6: .* multiples of 4",
    ),
    ("grpo", {"num_iterations": 2, "save_steps": 3}, "save_steps: 3: .* multiples of 2"),
    ("grpo", {"steps_per_generation": 4, "save_steps": 2}, "save_steps: 2: .* multiples of 4"),
]


@pytest.mark.parametrize(("method", "given", "message"), TOGETHER)
def test_what_goes_wrong_later_is_refused_now(method: MethodName, given: Raw, message: str) -> None:
    assert re.search(message, refusal(one=stage(method, **given)))


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("sft", {"packing": True, "padding_free": True}),
        ("sft", {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 0}}),
        ("sft", {"warmup_steps": 0.25, "save_steps": 5}),
        ("kto", {"per_device_train_batch_size": 1, "loss_type": "apo_zero_unpaired"}),
        ("kto", {"beta": 0.2, "objective": "label_auc"}),
        ("dpo", {"objective": "pair_accuracy"}),
        ("grpo", {"num_iterations": 2, "sweep": {"rungs": [4]}, "save_steps": 2}),
        ("grpo", {"generation_batch_size": 16, "num_generations": 16}),
    ],
)
def test_what_fits_is_taken(method: MethodName, given: Raw) -> None:
    assert one(method, **given).method == method


def test_a_choice_that_cannot_be_trained_is_found_before_the_search() -> None:
    losses = {"choice": ["sigmoid", "exo_pair"]}
    assert "'exo_pair' needs label_smoothing" in refusal(one=stage("dpo", loss_type=losses))
    lora = {"r": {"choice": [16, 8]}, "lora_alpha": "r - 8"}
    assert "lora_alpha: expected a number above 0" in refusal(one=stage("sft", lora=lora))


DOES_NOT_COMPOSE: list[tuple[Raw, str]] = [
    ({"use_dora": True}, "use_dora=True does not compose: its effect is not a sum of deltas"),
    ({"lora_bias": True}, "lora_bias=True does not compose: its effect"),
    ({"bias": "lora_only"}, "bias='lora_only' does not compose: trained biases"),
    ({"init_lora_weights": "pissa"}, "'pissa' does not compose: .*other base weights"),
    ({"init_lora_weights": "olora"}, "'olora' does not compose: .*other base weights"),
    ({"init_lora_weights": "gaussian"}, "'gaussian' is not offered"),
    ({"init_lora_weights": False}, "False is not offered"),
    ({"modules_to_save": ["embed_tokens"]}, "does not compose: layers that are trained as a whole"),
    ({"target_parameters": ["mlp.experts"]}, "does not compose: the bank holds LoRA of linear"),
    ({"target_modules": ["q_proj", "lm_head"]}, "'lm_head' does not compose"),
    ({"target_modules": ["model.embed_tokens"]}, "'embed_tokens' does not compose"),
    ({"target_modules": ".*"}, "'lm_head' does not compose"),
    ({"target_modules": "(q_proj"}, "no regular expression"),
    ({"target_modules": []}, "no module to adapt"),
    ({"target_modules": ["all-linear"]}, "write target_modules: all-linear"),
    ({"rank": 8}, "unknown field 'stages.one.lora.rank'; allowed: r, "),
]


@pytest.mark.parametrize(("lora", "message"), DOES_NOT_COMPOSE)
def test_lora_that_does_not_compose_is_refused(lora: Raw, message: str) -> None:
    told = refusal(one=stage("sft", lora=lora))
    assert "stages.one.lora" in told
    assert re.search(message, told)


def test_lora_as_peft_has_it_by_default_says_nothing_new() -> None:
    plain = {"use_dora": False, "bias": "none", "init_lora_weights": True, "modules_to_save": None}
    assert LoraConfig.model_validate(plain) == LoraConfig()


def test_what_is_refused_here_is_what_an_adapter_folder_is_refused_for() -> None:
    import dataclasses

    from peft import LoraConfig as Peft

    from align.adapters.tensors import _NOT_A_SUM
    from align.inference import EngineOptions

    assert set(_NOT_A_SUM) <= set(NOT_COMPOSED)
    assert set(NOT_COMPOSED) <= {field.name for field in dataclasses.fields(Peft)}
    assert EngineOptions().max_rank == MAX_RANK


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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"task": "reasoning_gym/chain_sum", "task_config": {"max_terms": 3}}, None),
        (
            {"task": "resoning_gym/chain_sum"},
            "allowed: arithmetic, expressions, reasoning_gym/<",
        ),
        (
            {"task": "arithmetic", "task_config": {}},
            "task_config belongs to a task of",
        ),
        (
            {"path": "rows.jsonl", "task_config": {}},
            "task_config belongs to a task of",
        ),
    ],
)
def test_tasks_of_reasoning_gym(data: Raw, message: str | None) -> None:
    given = stage("sft", data=data)
    if message is None:
        assert recipe(one=given).data_of("one").task_config == {"max_terms": 3}
    else:
        assert message in refusal(one=given)
