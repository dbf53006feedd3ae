"""Every trial that a search could draw must be trainable."""

from align.recipe.candidates import LIMIT, reaching, variants
from tests.align.recipe.stages import one, refusal, stage


def test_a_choice_that_cannot_be_trained_is_found_before_the_search() -> None:
    losses = {"choice": ["sigmoid", "exo_pair"]}
    assert "'exo_pair' needs label_smoothing" in refusal(one=stage("dpo", loss_type=losses))
    lora = {"r": {"choice": [16, 8]}, "lora_alpha": "r - 8"}
    assert "lora_alpha: expected a number above 0" in refusal(one=stage("sft", lora=lora))


def test_candidates_are_the_ends_and_every_combination_of_choices() -> None:
    mine = one(
        "sft",
        learning_rate={"loguniform": [1e-5, 1e-3], "default": 1e-4},
        lora={"r": {"choice": [8, 16]}},
        gradient_checkpointing={"choice": [False, True]},
    )
    made = variants(mine)
    assert made[0] == {}
    assert [each["learning_rate"] for each in made if "learning_rate" in each] == [1e-5, 1e-3]
    both = [
        (each["lora.r"], each["gradient_checkpointing"])
        for each in made
        if {"lora.r", "gradient_checkpointing"} <= each.keys()
    ]
    assert sorted(both) == [(8, False), (8, True), (16, False), (16, True)]


def test_a_large_grid_is_sampled_the_same_way_each_time() -> None:
    fields = ("weight_decay", "max_grad_norm", "warmup_steps", "neftune_noise_alpha", "adam_beta1")
    searched = {name: {"choice": [0.0, 0.1, 0.2, 0.3]} for name in fields}  # 4 ** 5 are 1024
    mine = one("sft", **searched)
    made = variants(mine)
    assert len(made) <= 1 + 5 * 4 + LIMIT
    assert made == variants(mine)


def test_a_trial_that_reaches_a_value_has_what_the_value_needs() -> None:
    mine = one(
        "dpo",
        loss_type={"choice": ["sigmoid", "robust"]},
        label_smoothing={"choice": [0.1, 0.2], "when": {"loss_type": "robust"}},
    )
    needed = {"loss_type": "robust", "label_smoothing": 0.2}
    assert reaching(mine, "label_smoothing", 0.2) == needed
    assert reaching(mine, "loss_type", "sigmoid") == {"loss_type": "sigmoid"}


def test_no_trial_reaches_a_field_whose_condition_is_never_met() -> None:
    mine = one("dpo", beta={"choice": [0.1, 0.5], "when": {"max_steps": 5}})
    assert reaching(mine, "beta", 0.5) is None
