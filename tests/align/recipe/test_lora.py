"""LoRA as a recipe may have it, and what does not compose."""

import re

import pytest

from align.recipe import LoraConfig
from align.recipe.lora import MAX_RANK, NOT_COMPOSED
from tests.align.recipe.stages import Raw, refusal, stage

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

    from align.adapters.tensors import NOT_A_SUM
    from align.inference import EngineOptions

    assert set(NOT_A_SUM) <= set(NOT_COMPOSED)
    assert set(NOT_COMPOSED) <= {field.name for field in dataclasses.fields(Peft)}
    assert EngineOptions().max_rank == MAX_RANK
