"""Every trial that a search could draw must be trainable."""

from tests.align.recipe.stages import refusal, stage


def test_a_choice_that_cannot_be_trained_is_found_before_the_search() -> None:
    losses = {"choice": ["sigmoid", "exo_pair"]}
    assert "'exo_pair' needs label_smoothing" in refusal(one=stage("dpo", loss_type=losses))
    lora = {"r": {"choice": [16, 8]}, "lora_alpha": "r - 8"}
    assert "lora_alpha: expected a number above 0" in refusal(one=stage("sft", lora=lora))
