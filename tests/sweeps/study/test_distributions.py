"""A kind of search space is one class: recipes, candidates, grids, studies and reports ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from align.errors import RecipeError
from align.recipe import StageConfig, parse_recipe
from align.recipe.show import space_table, to_yaml
from align.space import Interval
from align.space.spaces import KINDS, Space
from sweeps.report.data import parameters
from sweeps.report.spaces import ticks
from sweeps.study.distributions import distribution, suggest
from sweeps.study.grid import Grid

Raw = dict[str, Any]

EXAMPLES: dict[str, Raw] = {
    "loguniform": {"loguniform": [1e-4, 1e-2], "default": 2e-3},
    "uniform": {"uniform": [0.0, 0.2], "default": 0.1},
    "int": {"int": [2, 32], "log": True, "default": 8},
    "choice": {"choice": [8, 4.5, 16], "default": 4.5},
}


def recipe_with(**fields: Any) -> Any:
    stage = {"method": "sft", "objective": "nll", "learning_rate": 1e-3, "max_steps": 4, **fields}
    return parse_recipe(
        {"name": "x", "base": "tiny-random", "data": {"task": "arithmetic"}, "stages": {"a": stage}}
    )


@pytest.fixture
def quantized() -> Iterator[type[Space]]:
    """A kind that the product lacks: numbers at equal distances."""

    class Quantized(Interval):
        options: ClassVar[tuple[str, ...]] = ("step",)
        discrete: ClassVar[bool] = True

        kind: Literal["quantized"] = "quantized"
        step: float = 1.0

        @classmethod
        def parse(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
            return {**super().parse(raw), "step": float(raw.get("step", 1.0))}

        def every(self, limit: int) -> tuple[float, ...]:
            count = min(limit, round((self.high - self.low) / self.step) + 1)
            return tuple(self.low + index * self.step for index in range(count))

        def spread(self, count: int) -> tuple[float, ...]:
            return self.every(count)

        def distribution(self) -> dict[str, Any]:
            attributes = {"low": self.low, "high": self.high, "step": self.step}
            return {"name": "FloatDistribution", "attributes": attributes}

    yield Quantized
    del KINDS["quantized"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("loguniform", FloatDistribution(1e-4, 1e-2, log=True)),
        ("uniform", FloatDistribution(0.0, 0.2)),
        ("int", IntDistribution(2, 32, log=True)),
        ("choice", CategoricalDistribution((8, 4.5, 16))),
    ],
)
def test_each_kind_has_its_distribution(kind: str, expected: Any) -> None:
    made = distribution(Space.model_validate(EXAMPLES[kind]))
    assert made == expected and repr(made) == repr(expected)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_kind_is_drawn_from(kind: str) -> None:
    space = Space.model_validate(EXAMPLES[kind])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    stage: StageConfig = recipe_with(weight_decay=EXAMPLES[kind]).stages["a"]
    drawn = [suggest(study.ask(), stage, lambda path: None)["weight_decay"] for _ in range(9)]
    assert len(set(drawn)) > 2 and all(space.contains(value) for value in drawn)


def test_a_new_kind_is_one_class(quantized: type[Space]) -> None:
    raw = {"quantized": [0.0, 0.2], "step": 0.05, "default": 0.1}
    recipe = recipe_with(weight_decay=raw, max_grad_norm="2 * weight_decay")
    stage = recipe.stages["a"]
    space = stage.space()["weight_decay"]
    assert type(space) is quantized and space.step == 0.05
    # the recipe: text, stored form, what is checked before a search, what a trial may hold
    assert "weight_decay: {quantized: [0.0, 0.2], step: 0.05, default: 0.1}" in to_yaml(recipe)
    assert space_table(recipe)[0] == ("a", "weight_decay", "quantized 0 to 0.2", "0.1")
    again = parse_recipe(recipe.model_dump(mode="json"))
    assert again == recipe and again.stages["a"].space() == stage.space()
    five = pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert sorted({point.get("weight_decay", 0.1) for point in stage.variants()}) == five
    with pytest.raises(RecipeError, match=r"0\.3 lies outside {'quantized': \[0\.0, 0\.2\]"):
        stage.resolve({"weight_decay": 0.3})
    # the search: grid, distribution, values drawn
    points = Grid(stage, {}, seed=0).points
    assert sorted(point["weight_decay"] for point in points) == five
    assert distribution(space) == FloatDistribution(0.0, 0.2, step=0.05)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(study.ask(), stage, lambda path: None)["weight_decay"] for _ in range(9)]
    assert {round(value, 9) for value in drawn} <= {0.0, 0.05, 0.1, 0.15, 0.2}
    # the report
    assert [text for _, text in ticks(parameters(stage.space())[0])] == ["0", "0.1", "0.2"]


def test_a_new_kind_is_listed_in_messages(quantized: type[Space]) -> None:
    with pytest.raises(RecipeError, match="exactly one of loguniform, uniform, int, choice, quant"):
        recipe_with(weight_decay={"default": 1})
    with pytest.raises(RecipeError, match="search it by int or choice, not quantized"):
        recipe_with(max_length={"quantized": [8, 16]})
    with pytest.raises(RecipeError, match=r"quantized does not take \['log'\]; allowed: .*'step'"):
        recipe_with(weight_decay={"quantized": [8, 16], "log": True})
