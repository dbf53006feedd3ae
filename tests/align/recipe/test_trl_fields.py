"""TRL's fields in a recipe: all of them, under their own names, checked before TRL is imported."""

import dataclasses
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from align.errors import RecipeError, TrainingError
from align.methods import METHODS, MethodName
from align.recipe import Recipe, StageConfig, parse_recipe
from align.recipe.schema import Scheduler
from align.recipe.show import plain, space_table, to_yaml
from align.recipe.trl_fields.installed import (
    enum_values,
    methods_with,
    trl_fields,
    trl_refusals,
)
from align.recipe.trl_fields.unsupported import decided, patterns


def stage(method: MethodName, **fields: Any) -> dict[str, Any]:
    """A stage of this method with fields changed."""
    raw = {
        "method": method,
        "learning_rate": 1e-3,
        "max_steps": 12,
        "objective": METHODS[method].objectives[-1],
        "rewards": {"correctness": 1.0} if METHODS[method].online else {},
    }
    return {**raw, **fields}


def recipe(method: MethodName, **fields: Any) -> Recipe:
    return parse_recipe(
        {
            "name": "tiny",
            "base": "tiny-random",
            "data": {"task": "arithmetic"},
            "stages": {"one": stage(method, **fields)},
        }
    )


def config(method: MethodName, **fields: Any) -> StageConfig:
    return recipe(method, **fields).stages["one"]


def refusal(method: MethodName, **fields: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(method, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def config_class(method: MethodName) -> Any:
    """The class of TRL, which is imported only here."""
    module = METHODS[method].config_file.removesuffix(".py").replace("/", ".")
    return getattr(import_module(f"trl.{module}"), METHODS[method].config_class)


@pytest.mark.parametrize("method", METHODS)
def test_fields_are_read_as_trl_has_them(method: MethodName) -> None:
    """Names and defaults, so that an update of TRL cannot drift away from what is read."""
    real = {one.name: one for one in dataclasses.fields(config_class(method))}
    read = trl_fields(method)
    assert set(read) == set(real)
    for name, field in real.items():
        if (
            field.default is not dataclasses.MISSING and name != "optim"
        ):  # picked by torch's version
            assert read[name].default == field.default, name
    assert read["learning_rate"].default == real["learning_rate"].default
    assert set(read["optim"].type.__args__) >= {"adamw_torch", "adafactor"}


def test_the_values_that_trainers_alone_name_are_theirs() -> None:
    listed = [(name, *item) for name, method in METHODS.items() for item in method.values.items()]
    assert listed
    for method, field, values in listed:
        file = Path(str(import_module("trl").__file__)).parent / METHODS[method].config_file
        trainer = file.with_name(file.name.replace("_config", "_trainer"))
        text = trainer.read_text() + file.read_text()
        missing = [one for one in values if f'"{one}"' not in text and f"'{one}'" not in text]
        assert not missing, (method, field)
        assert trl_fields(method)[field].default in (*values, list(values[:1]))
    assert get_args(Scheduler) == enum_values("SchedulerType")


def test_what_is_refused_exists() -> None:
    """A field that TRL drops is one that nobody needs to be told about."""
    names = {name for method in METHODS for name in trl_fields(method)}
    for found in patterns().values():
        for pattern in found:
            stem = pattern.removesuffix("*")
            assert pattern in names or any(pattern != stem and n.startswith(stem) for n in names)


def test_what_every_job_sets_itself_is_not_the_recipes(tmp_path: Path) -> None:
    from align.methods.trainers.trainer_inputs import TrainerInputs

    settled = config("sft").resolve()
    arguments = TrainerInputs(None, None, settled, 3, [], tmp_path, 0).arguments()  # type: ignore[arg-type]
    own = {name for name in arguments if name not in settled.trl()}
    assert {name for name in own if not decided("sft", name)} <= {"gradient_checkpointing_kwargs"}


def test_recipes_are_read_without_trl() -> None:
    code = (
        "import sys\nfrom align.recipe import load_recipe\n"
        "for name in ('tutorial', 'arithmetic'):\n"
        "    for stage in load_recipe(name).stages.values():\n        stage.resolve().trl()\n"
        "assert not {'trl', 'torch', 'transformers', 'peft', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, capture_output=True)


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


@pytest.mark.parametrize("method", METHODS)
def test_a_stages_arguments_make_trls_config(method: MethodName, tmp_path: Path) -> None:
    given = config(method, warmup_steps=0.1, adam_beta1="8e-1").resolve().trl()
    made = config_class(method)(**given, output_dir=str(tmp_path), bf16=False)
    assert (made.warmup_steps, made.adam_beta1, made.learning_rate) == (0.1, 0.8, 1e-3)
    own = {"method", "parent", "lora", "data", "rewards", "objective", "sweep", "save_steps"}
    assert not own & set(given)
    assert ("max_length" in given) == (not METHODS[method].online)
    assert ("num_generations" in given) == METHODS[method].online
    assert ("max_completion_length" in given) == METHODS[method].online


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


def test_everything_that_is_wrong_is_told_at_once() -> None:
    told = refusal("sft", learning_rate="fast", adam_beta1=2, learning_rat=3)
    assert "stages.one.learning_rate: expected a number above 0" in told
    assert "stages.one.adam_beta1: " in told
    assert "unknown field 'stages.one.learning_rat'" in told


def test_typed_fields_at_their_defaults_are_no_fields_of_another_method() -> None:
    made = recipe("reward")
    assert Recipe.model_validate_json(made.model_dump_json()) == made


DECIDED: list[tuple[MethodName, str, Any, str]] = [
    ("sft", "output_dir", "out", "folder"),
    ("sft", "bf16", True, "precision"),
    ("sft", "fp16", True, "precision"),
    ("sft", "use_cpu", True, "precision"),
    ("sft", "seed", 3, "the recipe's field 'seed'"),
    ("sft", "save_total_limit", 1, "save_steps"),
    ("sft", "load_best_model_at_end", True, "sweep.rungs"),
    ("sft", "eval_steps", 5, "published adapter"),
    ("sft", "report_to", "wandb", "logged"),
    ("sft", "deepspeed", "z3.json", "one device"),
    ("sft", "fsdp", "full_shard", "one device"),
    ("sft", "push_to_hub", True, "registered"),
    ("grpo", "use_vllm", True, "engine"),
    ("grpo", "vllm_mode", "server", "engine"),
    ("grpo", "repetition_penalty", 1.1, "temperature, top_p and top_k"),
    ("grpo", "reward_weights", [1.0], "'rewards'"),
    ("dpo", "precompute_ref_log_probs", True, "computed once"),
    ("dpo", "sync_ref_model", True, "parent"),
    ("sft", "model_init_kwargs", {}, "'base'"),
    ("sft", "remove_unused_columns", False, "rows are prepared"),
    ("sft", "auto_find_batch_size", True, "halves per_device_train_batch_size"),
    ("sft", "chat_template_path", "x", "serving renders"),
]


@pytest.mark.parametrize(("method", "name", "value", "reason"), DECIDED)
def test_what_alignery_decides_is_refused_with_the_reason(
    method: MethodName, name: str, value: Any, reason: str
) -> None:
    told = refusal(method, **{name: value})
    assert f"stages.one.{name}: a recipe does not set this: " in told
    assert reason in told


def test_methods_are_named_in_their_order() -> None:
    assert methods_with("beta") == ["dpo", "kto", "orpo", "grpo", "rloo"]


def test_what_trl_refuses_comes_out_as_the_recipes_error() -> None:
    from trl import DPOConfig

    with pytest.raises(RecipeError, match=r"this dpo stage: .*loss_weights"), trl_refusals("dpo"):
        DPOConfig(output_dir="x", bf16=False, loss_weights=[1.0, 2.0])
    with pytest.raises(TrainingError, match="NaN"), trl_refusals("dpo"):
        raise TrainingError("NaN")
