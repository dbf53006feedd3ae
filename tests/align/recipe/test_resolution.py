"""Which fields a trial searches, in what order, and the values that it may have."""

import re
from typing import Any

import pytest
import yaml

from align.errors import RecipeError
from align.recipe import Recipe, StageConfig, parse_recipe
from align.recipe.show import plain, space_table, to_yaml
from tests.align.recipe.raw import RAW, changed

Raw = dict[str, Any]
#: A chain of two conditions, one of them on a block's own field, and one on what is fixed.
STAGE: Raw = {
    "method": "dpo",
    "objective": "pair_accuracy",
    "max_steps": 12,
    "learning_rate": {"loguniform": [1e-5, 1e-3]},
    "label_smoothing": {"choice": [0.1, 0.2], "when": {"loss_type": ["sigmoid", "robust"]}},
    "loss_type": {"choice": ["sigmoid", "ipo", "robust"]},
    "beta": {"choice": [0.1, 0.5], "when": {"label_smoothing": 0.1}},
    "lora": {
        "r": {"choice": [8, 16]},
        "lora_dropout": {"uniform": [0.0, 0.2], "default": 0.0, "when": {"r": 16}},
    },
}


def recipe(**fields: Any) -> Recipe:
    data = {"task": "arithmetic", "train": 64}
    stages = {"one": {**STAGE, **fields}}
    return parse_recipe({"name": "tiny", "base": "tiny-random", "data": data, "stages": stages})


def stage(**fields: Any) -> StageConfig:
    return recipe(**fields).stages["one"]


def refusal(**fields: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(**fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_field_comes_after_those_that_decide_about_it() -> None:
    order = stage().search_order()
    assert sorted(order) == sorted(stage().space())
    assert order.index("loss_type") < order.index("label_smoothing") < order.index("beta")
    assert order.index("lora.r") < order.index("lora.lora_dropout")


def test_without_conditions_the_order_is_the_recipes() -> None:
    plainly = stage(beta=0.1, label_smoothing=0.1, lora={"r": {"choice": [8, 16]}})
    assert plainly.search_order() == list(plainly.space())


@pytest.mark.parametrize(
    ("values", "idle"),
    [
        ({}, {"lora.lora_dropout"}),
        ({"loss_type": "robust"}, {"lora.lora_dropout"}),
        ({"loss_type": "ipo"}, {"lora.lora_dropout", "label_smoothing", "beta"}),  # a chain
        ({"label_smoothing": 0.2}, {"lora.lora_dropout", "beta"}),
        ({"lora.r": 16}, set()),
    ],
)
def test_which_fields_a_trial_searches(values: Raw, idle: set[str]) -> None:
    one = stage()
    assert set(one.space()) - set(one.active(values)) == idle


def test_a_sampler_can_draw_field_after_field() -> None:
    one, values = stage(), {}
    for path in one.search_order():
        if one.is_active(path, values):
            values[path] = one.space()[path].ends()[-1]
    assert values["lora.lora_dropout"] == 0.2 and values["loss_type"] == "robust"
    assert one.resolve(values).lora.lora_dropout == 0.2


def test_an_inactive_field_has_its_default_and_is_no_parameter() -> None:
    one = stage()
    assert "lora.lora_dropout" not in one.defaults()
    made = one.resolve({"loss_type": "ipo"})
    assert (made.beta, made.trl()["label_smoothing"]) == (0.1, 0.1)
    with pytest.raises(
        RecipeError, match=r"beta = 0.5: .*only searched where label_smoothing is 0\.1"
    ):
        one.resolve({"loss_type": "ipo", "beta": 0.5})


def test_conditions_may_be_on_what_is_fixed() -> None:
    sgd = {"optim": "sgd", "adam_beta1": {"uniform": [0, 0.9], "when": {"optim": "adamw_torch"}}}
    assert "adam_beta1" not in stage(**sgd).defaults()
    assert "adam_beta1" in stage(**{**sgd, "optim": "adamw_torch"}).defaults()


def test_what_can_be_drawn_under_a_condition_must_be_trainable() -> None:
    told = refusal(
        label_smoothing={"choice": [0.1, 0.0], "when": {"loss_type": "exo_pair"}},
        loss_type={"choice": ["sigmoid", "exo_pair"]},
        beta=0.1,
    )
    assert "'exo_pair' needs label_smoothing above 0" in told
    assert "label_smoothing = 0.0" in told and "loss_type = exo_pair" in told
    rank = {"r": {"int": [8, 300], "default": 8, "when": {"loss_type": "ipo"}}}
    assert "300, where at most 128 are served" in refusal(lora=rank, beta=0.1, label_smoothing=0.1)


WRONG: list[tuple[Raw, str]] = [
    ({"beta": {"choice": [0.1], "when": {"los_type": "ipo"}}}, "when: no field 'los_type'; did"),
    (
        {"beta": {"choice": [0.1], "when": {"loss_type": "ip"}}},
        "beta: when: loss_type: 'ip' is not among .*; did you mean 'ipo'",
    ),
    (
        {"beta": {"choice": [0.1], "when": {"optim": "adamw_torhc"}}},
        "beta: when: optim: expected .*; did you mean 'adamw_torch'",
    ),
    ({"beta": {"choice": [0.1], "when": {"lora.rank": 8}}}, "no field 'lora.rank'"),
    ({"beta": {"choice": [0.1], "when": {"seed": 8}}}, "beta: when: no field 'seed'"),
    ({"beta": {"choice": [0.1], "when": {"learning_rate": 1e-4}}}, "'learning_rate' is searched"),
    ({"beta": {"choice": [0.1], "when": {"sweep": 1}}}, "'sweep' holds no single value"),
    ({"beta": {"choice": [0.1], "when": {}}}, "beta: when needs {field: value}"),
    ({"beta": {"choice": [0.1], "when": {"loss_type": []}}}, "loss_type needs a value or a list"),
    ({"beta": {"choice": [0.1], "when": {"max_steps": "x"}}}, "when: max_steps: expected a whole"),
    (
        {"lora": {"r": {"choice": [8]}, "lora_alpha": "2 * r", "lora_dropout": {
            "choice": [0.1], "when": {"lora_alpha": 16}}}},
        "lora.lora_dropout: when: 'lora_alpha' is tied",
    ),
    (
        {"loss_type": {"choice": ["sigmoid", "robust"], "when": {"beta": 0.1}}},
        "active only if each other is, in a circle: ",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_a_wrong_condition_is_told_at_its_field(given: Raw, message: str) -> None:
    assert re.search(message, refusal(**given))


@pytest.mark.filterwarnings("error")
def test_conditions_are_read_back_as_they_are_shown() -> None:
    made = recipe()
    assert Recipe.model_validate_json(made.model_dump_json()) == made
    assert parse_recipe(yaml.safe_load(to_yaml(made))) == made
    assert parse_recipe(plain(made)) == made
    rows = {row[1]: row[2:] for row in space_table(made)}
    assert rows["lora.lora_dropout"] == ("uniform 0 to 0.2 where r is 16", "0 (not searched)")
    assert rows["label_smoothing"] == (
        "choice 0.1, 0.2 where loss_type is sigmoid or robust",
        "0.1",
    )


POINTS: list[tuple[Raw, str]] = [
    ({"lora.rank": 8}, "'lora.rank' is not searched; did you mean 'lora.r'"),
    ({"lora": {"r": 8}}, "one value for each field by dotted path, {lora.r: 8}"),
    ({"max_steps": 8}, "'max_steps' is not searched; searched: "),
    ({"lora.r": 9}, r"lora.r: 9 is not among \{'choice': \[8, 16\]\}"),
    ({"loss_type": "sigmod"}, "did you mean 'sigmoid'"),
    ({"learning_rate": 1.0}, "learning_rate: 1.0 lies outside"),
    ({"learning_rate": "fast"}, "learning_rate: 'fast' lies outside"),
    ({"lora.lora_dropout": 0.1}, "only searched where lora.r is 16"),
    ({"lora.lora_dropout": 0.1, "lora.r": 8}, "only searched where lora.r is 16"),
    (
        {"label_smoothing": 0.2, "loss_type": "ipo"},
        "only searched where loss_type is sigmoid or ro",
    ),
]


@pytest.mark.parametrize(("point", "message"), POINTS)
def test_a_wrong_point_is_told(point: Raw, message: str) -> None:
    told = refusal(sweep={"points": [{"lora.r": 8}, point]})
    assert re.search(rf"stages\.one\.sweep\.points\.1.*{message}", told)


def test_points_are_read_as_trials_hold_them() -> None:
    text = "[{learning_rate: 1e-4, lora.lora_dropout: 0, lora.r: 16}, {loss_type: ipo}]"
    made = recipe(sweep={"trials": 3, "points": yaml.safe_load(text)})
    first = made.stages["one"].sweep.points[0]
    assert first == {"lora.r": 16, "lora.lora_dropout": 0.0, "learning_rate": 1e-4}
    assert made.stages["one"].resolve(first).learning_rate == 1e-4
    assert parse_recipe(yaml.safe_load(to_yaml(made))) == made
    defaults = [{"label_smoothing": 0.2}]  # loss_type is sigmoid
    assert stage(sweep={"points": defaults}).sweep.points == defaults
    told = refusal(sweep={"trials": 2, "points": yaml.safe_load(text)})
    assert "2 points and the defaults need trials: 3 or more; got 2" in told


def test_a_point_that_cannot_be_trained_is_told() -> None:
    smoothed = {"uniform": [0.0, 0.4], "default": 0.1}
    losses = {"choice": ["sigmoid", "exo_pair"]}
    points = [{"loss_type": "exo_pair", "learning_rate": 1e-4}, {"label_smoothing": 0.0}]
    sweep = {"points": points}
    alone = {"loss_type": losses, "label_smoothing": smoothed, "beta": 0.1}
    assert len(stage(**alone, sweep=sweep).sweep.points) == 2
    sweep = {"points": [{"loss_type": "exo_pair", "label_smoothing": 0.0}]}
    assert "loss_type = exo_pair" in refusal(**alone, sweep=sweep)


@pytest.mark.parametrize("value", [8.5, True, 17, "8"])
def test_a_parameter_outside_its_space_is_refused(value: Any) -> None:
    stage = parse_recipe(changed("stages.sft.lora.r", {"int": [4, 16]})).stages["sft"]
    with pytest.raises(RecipeError, match="outside"):
        stage.resolve({"lora.r": value})


def test_a_parameter_that_is_not_searched_is_refused() -> None:
    with pytest.raises(RecipeError, match="not searched here"):
        parse_recipe(RAW).stages["sft"].resolve({"lora.r": 8})
