"""Any other field of TRL is checked as TRL declares it, and reaches its config."""

import json
import re
from typing import Any

import pytest
import yaml

from align.methods import MethodName
from align.recipe import Recipe, parse_recipe
from align.recipe.show import plain, space_table, to_yaml
from align.recipe.trl_fields.passthrough import elsewhere
from tests.align.recipe.trl_fields.stages import config, recipe, refusal

GIVEN: list[tuple[MethodName, dict[str, Any]]] = [
    ("sft", {"packing": True, "packing_strategy": "bfd_split", "loss_type": "dft"}),
    ("sft", {"optim": "adafactor", "adam_beta2": 0.95, "neftune_noise_alpha": 5.0}),
    ("sft", {"pad_to_multiple_of": None, "dataloader_num_workers": 2}),
    ("sft", {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0}}),
    ("reward", {"center_rewards_coefficient": 0.01, "disable_dropout": False}),
    ("dpo", {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5], "beta": 0.2}),
    ("kto", {"desirable_weight": 1.0, "undesirable_weight": 1.5, "loss_type": "kto"}),
    ("grpo", {"epsilon_high": 0.28, "top_p": 0.9, "scale_rewards": "none", "num_iterations": 2}),
]


@pytest.mark.parametrize(("method", "given"), GIVEN)
def test_any_field_reaches_trls_config(method: MethodName, given: dict[str, Any]) -> None:
    arguments = config(method, **given).resolve().trl()
    assert {name: arguments[name] for name in given} == given


@pytest.mark.parametrize(
    ("method", "given", "first"),
    [
        ("grpo", {"epsilon": {"uniform": [0.1, 0.3]}, "epsilon_high": "epsilon + 0.1"}, 0.2),
        ("sft", {"neftune_noise_alpha": {"choice": [5, 10]}}, 5),
        ("kto", {"desirable_weight": {"loguniform": [0.5, 2], "default": 1}}, 1),
        ("grpo", {"top_k": {"int": [0, 50], "default": 20}}, 20),
        ("dpo", {"loss_type": {"choice": ["sigmoid", "ipo"]}}, "sigmoid"),
        ("sft", {"packing": {"choice": [False, True]}}, False),
    ],
)
def test_any_field_can_be_searched(method: MethodName, given: dict[str, Any], first: Any) -> None:
    made = recipe(method, **given)
    one, name = made.stages["one"], next(iter(given))
    assert one.defaults() == {name: first}
    assert one.resolve().trl()[name] == first
    last = one.space()[name].ends()[-1]
    assert one.resolve({name: last}).trl()[name] == last
    assert [row[1] for row in space_table(made)] == list(given)
    # As a worker gets it, and as a person sees and loads it.
    assert Recipe.model_validate_json(made.model_dump_json()) == made
    assert Recipe.model_validate_json(json.dumps(made.model_dump(mode="json"))) == made
    assert parse_recipe(yaml.safe_load(to_yaml(made))) == made
    assert parse_recipe(plain(made)) == made


def test_ties_of_trls_fields_follow_the_trial() -> None:
    one = config("grpo", epsilon={"uniform": [0.1, 0.3]}, epsilon_high="2 * epsilon")
    assert one.resolve({"epsilon": 0.3}).trl()["epsilon_high"] == pytest.approx(0.6)


def test_a_field_that_is_set_to_null_stays_so() -> None:
    made = recipe("sft", pad_to_multiple_of=None)
    assert parse_recipe(yaml.safe_load(to_yaml(made))) == made
    assert made.stages["one"].resolve().trl()["pad_to_multiple_of"] is None


WRONG: list[tuple[MethodName, dict[str, Any], str]] = [
    (
        "sft",
        {"learning_rat": 1},
        "unknown field 'stages.one.learning_rat'; did you mean 'learn",
    ),
    ("sft", {"neftune_noise": 5}, "unknown field 'stages.one.neftune_noise'; did you mean 'neftu"),
    ("sft", {"zzz": 5}, "unknown field 'stages.one.zzz'; allowed: method, parent, "),
    ("sft", {"zzz": 5}, "and the fields of TRL's SFTConfig"),
    (
        "reward",
        {"packing": True},
        "one.packing: 'packing' is a field of sft; reward has none",
    ),
    (
        "orpo",
        {"max_completion_length": 32},
        "'max_completion_length' has no meaning for orpo: TRL's ORPO reads it for encoder-decoder",
    ),
    ("orpo", {"padding_value": 3}, "a recipe does not set this: padding is masked"),
    ("sft", {"epsilon": 0.1}, "'epsilon' is a field of grpo, rloo; sft has none"),
    ("sft", {"temperature": 0.5}, "'temperature' is a field of grpo, rloo; sft has none"),
    (
        "grpo",
        {"max_length": 256},
        "'max_length' is a field of sft, reward, dpo, kto, orpo; grpo has",
    ),
    (
        "reward",
        {"beta": {"choice": [0.1, 0.2]}},
        "'beta' is a field of dpo, kto, orpo, grpo, rloo; reward has",
    ),
    ("sft", {"adam_beta1": 1.5}, "stages.one.adam_beta1: expected a number from 0 to below 1; got"),
    ("sft", {"adam_beta1": "no"}, "stages.one.adam_beta1: expected a number from 0 to below 1"),
    (
        "sft",
        {"adam_beta1": True},
        "adam_beta1: expected a number from 0 to below 1; got True",
    ),
    (
        "sft",
        {"adam_epsilon": {"uniform": [0, 1]}},
        "expected a number above 0; got 0",
    ),
    (
        "sft",
        {"adam_beta2": {"lognormal": [0, 1]}},
        "exactly one of loguniform, uniform",
    ),
    ("sft", {"neftune_noise_alpha": float("nan")}, "expected a number or null; got nan"),
    ("sft", {"packing": "perhaps"}, "stages.one.packing: expected true or false; got 'perhaps'"),
    ("sft", {"packing": {"uniform": [0, 1]}}, "search it by choice, not uniform"),
    ("sft", {"optim": "adamw_torhc"}, "got 'adamw_torhc'; did you mean 'adamw_torch'?"),
    (
        "dpo",
        {"loss_type": "sigmod"},
        "expected one of sigmoid, hinge, .* got 'sigmod'; did",
    ),
    (
        "grpo",
        {"scale_rewards": False},
        "expected one of group, batch, none; got False",
    ),
    ("grpo", {"top_k": {"uniform": [0, 50]}}, "search it by int or choice"),
    (
        "sft",
        {"lr_scheduler_kwargs": {"choice": [1, 2]}},
        "holds a mapping: only single values can be searched",
    ),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("method", "given", "message"), WRONG)
def test_a_wrong_field_is_told(method: MethodName, given: dict[str, Any], message: str) -> None:
    assert re.search(message, refusal(method, **given))


def test_typed_fields_at_their_defaults_are_no_fields_of_another_method() -> None:
    made = recipe("reward")
    assert Recipe.model_validate_json(made.model_dump_json()) == made


def test_a_field_of_other_methods_names_them() -> None:
    assert (
        elsewhere("sft", "beta") == "'beta' is a field of dpo, kto, orpo, grpo, rloo; sft has none"
    )
    assert elsewhere("dpo", "beta") is None
    assert elsewhere("sft", "no_such_field") is None
