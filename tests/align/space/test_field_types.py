"""Which fields of a stage can be searched, and what the rest of a recipe makes of that."""

import re
from typing import Any

import pytest
import yaml

from align.errors import RecipeError
from align.methods import METHODS, MethodName
from align.recipe import Recipe, StageConfig, parse_recipe
from align.recipe.show import plain, to_yaml
from align.space.spaces import Space, scalar

Raw = dict[str, Any]


def recipe(of: MethodName = "sft", /, **fields: Any) -> Recipe:
    stage = {
        "method": of,
        "learning_rate": 1e-3,
        "max_steps": 12,
        "objective": METHODS[of].objectives[-1],
        "rewards": {"correctness": 1.0} if of == "grpo" else {},
        **fields,
    }
    rows = {"task": "arithmetic", "train": 64}
    return parse_recipe(
        {"name": "tiny", "base": "tiny-random", "data": rows, "stages": {"one": stage}}
    )


def one(of: MethodName = "sft", /, **fields: Any) -> StageConfig:
    return recipe(of, **fields).stages["one"]


def refusal(of: MethodName = "sft", /, **fields: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(of, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


SEARCHED: list[tuple[MethodName, str, Raw, Any]] = [
    ("sft", "max_steps", {"int": [4, 20], "default": 8}, 20),
    ("sft", "per_device_train_batch_size", {"choice": [8, 4]}, 4),
    ("sft", "gradient_accumulation_steps", {"choice": [1, 2]}, 2),
    ("sft", "gradient_checkpointing", {"choice": [False, True]}, True),
    ("sft", "max_length", {"int": [128, 512], "log": True}, 512),
    ("sft", "lr_scheduler_type", {"choice": ["linear", "cosine"]}, "cosine"),
    ("sft", "warmup_steps", {"uniform": [0, 0.2]}, 0.2),
    ("sft", "warmup_steps", {"int": [0, 4]}, 4),
    ("sft", "lora.use_rslora", {"choice": [False, True]}, True),
    ("sft", "lora.target_modules", {"choice": ["all-linear", "(q|v)_proj"]}, "(q|v)_proj"),
    ("grpo", "num_generations", {"choice": [8, 4, 2]}, 2),
    ("grpo", "max_completion_length", {"int": [16, 64]}, 64),
    ("grpo", "num_iterations", {"choice": [1, 2]}, 2),
    ("grpo", "steps_per_generation", {"int": [1, 4], "default": 1}, 4),
]


@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # of other tests, at any time
@pytest.mark.parametrize(("method", "path", "space", "last"), SEARCHED)
def test_any_field_of_one_value_can_be_searched(
    method: MethodName, path: str, space: Raw, last: Any
) -> None:
    block, _, name = path.rpartition(".")
    made = recipe(method, **({block: {name: space}} if block else {name: space}))
    stage = made.stages["one"]
    assert list(stage.space()) == [path]
    resolved = dict(stage.resolve({path: last}).fields())
    assert resolved[path] == last
    assert Recipe.model_validate_json(made.model_dump_json()) == made
    assert parse_recipe(yaml.safe_load(to_yaml(made))) == made
    assert parse_recipe(plain(made)) == made


def test_lists_of_modules_are_choices_and_stand_in_parameters_as_text() -> None:
    raw = {"choice": [["q_proj", "v_proj"], "all-linear", ["q_proj"], "(q|k)_proj{1,2}"]}
    stage = one(lora={"target_modules": raw})
    texts = ("q_proj,v_proj", "all-linear", "q_proj", "(q|k)_proj{1,2}")
    assert stage.space()["lora.target_modules"].values == texts
    assert stage.defaults() == {"lora.target_modules": "q_proj,v_proj"}
    targets = [stage.resolve({"lora.target_modules": one}).lora.target_modules for one in texts]
    assert targets == [["q_proj", "v_proj"], "all-linear", ["q_proj"], "(q|k)_proj{1,2}"]
    assert "'lm_head' does not compose" in refusal(
        lora={"target_modules": {"choice": ["all-linear", ["q_proj", "lm_head"]]}}
    )


def test_lists_of_losses_are_choices_too() -> None:
    stage = one("dpo", loss_type={"choice": ["sigmoid", ["sigmoid", "sft"]]})
    losses = [
        stage.resolve({"loss_type": one}).trl()["loss_type"] for one in ("sigmoid", "sigmoid,sft")
    ]
    assert losses == ["sigmoid", ["sigmoid", "sft"]]


@pytest.mark.parametrize("value", [[["a"]], ["a,b"], [True], [None], []])
def test_a_list_that_has_no_text_is_no_choice(value: Any) -> None:
    with pytest.raises(ValueError, match="one value or a list of names"):
        scalar(value)


ONE_FOR_ALL = {
    "method": {"choice": ["sft", "dpo"]},
    "parent": {"choice": ["a", "b"]},
    "reward_model": {"choice": ["a", "b"]},
    "data": {"choice": [1, 2]},
    "objective": {"choice": ["nll", "accuracy"]},
    "rewards": {"brevity": {"uniform": [0, 1]}},
    "constraints": {"choice": ["length <= 1", "length <= 2"]},
    "sweep": {"trials": {"int": [2, 4]}},
    "budget_seconds": {"uniform": [1, 2]},
    "save_steps": {"int": [2, 4]},
}


@pytest.mark.parametrize("name", ONE_FOR_ALL)
def test_what_all_trials_share_is_not_searched(name: str) -> None:
    told = refusal(**{name: ONE_FOR_ALL[name]})
    assert re.search(rf"stages\.one\.{name}: .*cannot be searched: [a-z]{{2,}}", told)


def test_only_a_stages_fields_are_searched() -> None:
    raw = recipe().model_dump()
    with pytest.raises(RecipeError, match=r"seed: .*cannot be searched: only fields of a stage"):
        parse_recipe({**raw, "seed": {"int": [0, 9]}})
    with pytest.raises(RecipeError, match=r"max_new_tokens: .*only fields of a stage can"):
        parse_recipe({**raw, "evaluation": {"max_new_tokens": {"int": [8, 9]}}})


def test_trials_may_differ_in_steps() -> None:
    made = recipe(
        max_steps=None,
        num_train_epochs={"choice": [1, 2]},
        per_device_train_batch_size={"choice": [8, 4]},
        sweep={"rungs": [4]},
    )
    assert (made.fewest_steps("one"), made.steps("one")) == (8, 32)
    assert made.steps("one", {}) == 8
    assert made.steps("one", {"num_train_epochs": 2}) == 16
    assert made.steps("one", {"num_train_epochs": 2, "per_device_train_batch_size": 4}) == 32


def test_rungs_come_before_the_shortest_trials_end() -> None:
    told = refusal(max_steps={"int": [4, 12], "default": 12}, sweep={"rungs": [4]})
    assert "every rung must come before the last step (4); got [4] (in a trial with" in told
    assert "max_steps = 4" in told
    told = refusal(max_steps={"choice": [12, 4]}, warmup_steps=6)
    assert "6 is more than the stage's 4 steps" in told


def test_every_combination_of_choices_must_be_trainable() -> None:
    told = refusal(
        "grpo",
        num_generations={"choice": [4, 8]},
        per_device_train_batch_size={"choice": [8, 4]},
    )
    assert "num_generations 8 must divide the 4 completions" in told
    assert "(in a trial with per_device_train_batch_size = 4, num_generations = 8)" in told
    told = refusal("grpo", num_generations={"int": [2, 8]})
    assert "num_generations 5 must divide the 8 completions" in told
    told = refusal("grpo", steps_per_generation={"int": [1, 4], "default": 1}, sweep={"rungs": [3]})
    assert "rungs: 3: " in told
    assert "kto needs per_device_train_batch_size from 2" in refusal(
        "kto", per_device_train_batch_size={"choice": [4, 1]}
    )


def test_a_share_and_a_number_of_warmup_steps_are_not_one_space() -> None:
    assert "search whole numbers of steps by int" in refusal(warmup_steps={"uniform": [0, 5]})


def test_ties_use_any_number_of_the_stage() -> None:
    stage = one(
        learning_rate="1.0e-4 * lora.r",
        lora={
            "r": {"choice": [8, 16]},
            "lora_alpha": "2 * r",
            "lora_dropout": "learning_rate * 10",
        },
        max_steps="4 * lora.r",
        adam_beta2="1 - weight_decay / 10 - adam_epsilon",
        weight_decay={"uniform": [0, 0.1], "default": 0.01},
    )
    made = stage.resolve({"lora.r": 16, "weight_decay": 0.1})
    assert made.learning_rate == pytest.approx(1.6e-3)
    assert (made.lora.lora_alpha, made.max_steps) == (32, 64)
    assert made.lora.lora_dropout == pytest.approx(0.016)
    assert made.trl()["adam_beta2"] == pytest.approx(1 - 0.01 - 1e-8)


TIES: list[tuple[Raw, str]] = [
    ({"learning_rate": "2 * lora.rr"}, "learning_rate: .*unknown name 'lora.rr'; did you mean"),
    ({"learning_rate": "2 * lerning_rate"}, "unknown name 'lerning_rate'; did you mean 'learn"),
    ({"learning_rate": "2 * optim"}, "learning_rate: .*'optim' is .* no number"),
    ({"learning_rate": "2 * learning_rate"}, "in a circle: learning_rate -> learning_rate"),
    (
        {"learning_rate": "2 * lora.r", "lora": {"r": "8 * learning_rate"}},
        "tied to each other, in a circle: (learning_rate -> lora.r|lora.r -> learning_rate)",
    ),
    ({"max_steps": "lora.r / 3"}, r"max_steps: expected a whole number from 1 on.*got 2\.66"),
    ({"learning_rate": "2 * f(3)"}, r"'f\(3\)': only numbers, names and"),
    ({"learning_rate": "10 ** 999"}, "learning_rate: 10 .. 999: numerical result out of range"),
    ({"learning_rate": "(0 - 2) ** 0.5"}, "no number to use"),
]


@pytest.mark.parametrize(("given", "message"), TIES)
def test_a_wrong_tie_is_told_at_its_field(given: Raw, message: str) -> None:
    assert re.search(message, refusal(**given))


def test_whole_numbers_between_two_ends_are_spread_evenly() -> None:
    space = Space.model_validate({"int": [2, 100]})
    assert Space.model_validate({"int": [2, 5]}).spread(8) == (2, 3, 4, 5)
    assert len(space.spread(8)) == 8 and space.spread(8)[0] == 2 and space.spread(8)[-1] == 100


@pytest.mark.parametrize(("value", "inside"), [(True, False), (1, True), (1.0, True), ("1", False)])
def test_one_and_true_are_two_choices(value: Any, inside: bool) -> None:
    assert Space.model_validate({"choice": [1, 2]}).contains(value) is inside
