"""Fields that are wrong together, and those that fit."""

import re

import pytest

from align.methods import MethodName
from tests.align.recipe.stages import Raw, one, refusal, stage

SEARCHED = {"learning_rate": {"choice": [1e-4, 1e-3], "default": 1e-4}}
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
    *[
        ("reward", {**SEARCHED, "sweep": {"stop_when": {"gain_below": 0.1}, **sweep}}, message)
        for sweep, message in (
            ({"stop_when": {"gain_below": 1}}, "pair_accuracy is a share .* would stop at once"),
            ({"sampler": "grid"}, "sampler grid tries a fixed list"),
            ({"sampler": "BruteForceSampler"}, "tries a fixed list"),
            ({"trials": 3}, "with 3 trials it never does.*trials: 4 or more"),
            ({"trials": 1}, "with 1 trial it never does"),
        )
    ],
    ("sft", {"sweep": {"stop_when": {"gain_below": 0.1}}}, "with 1 trial it never does"),
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
        ("sft", {**SEARCHED, "objective": "nll", "sweep": {"stop_when": {"gain_below": 1.5}}}),
        ("kto", {"beta": 0.2, "objective": "label_auc"}),
        ("dpo", {"objective": "pair_accuracy"}),
        ("grpo", {"num_iterations": 2, "sweep": {"rungs": [4]}, "save_steps": 2}),
        ("grpo", {"generation_batch_size": 16, "num_generations": 16}),
    ],
)
def test_what_fits_is_taken(method: MethodName, given: Raw) -> None:
    assert one(method, **given).method == method
