"""A built-in reward is one class: its options, the columns that it needs, and its function."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from align.errors import DataError, RecipeError
from align.evaluation.checking import measurable
from align.preflight import check_inputs
from align.recipe import Recipe, parse_recipe
from align.recipe.rewards import configure
from align.rewards import Rewards
from align.rewards.base import TOKENS, AnswerReward, RewardConfig, ScoredAnswer
from align.rewards.builtin import BUILTIN
from tests.align.rewards.scoring import ASK, OPTIONS

MATHEMATICAL = {"accuracy_reward", "reasoning_accuracy_reward", "get_cosine_scaled_reward"}
COLUMNS: dict[str, Any] = {"answer": "7", "entry": "{}", TOKENS: [1, 2, 3]}


def config_of(name: str) -> RewardConfig:
    return configure({name: {"weight": 1, **OPTIONS.get(name, {})}})[name]


@pytest.fixture(autouse=True)
def scored_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """reasoning_gym need not be installed."""
    monkeypatch.setattr("align.reasoning_tasks.score", lambda text, entry: 0.5)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_reward_is_a_documented_class_of_its_own(name: str) -> None:
    kind = BUILTIN[name]
    assert kind.__doc__ and kind.__doc__ != RewardConfig.__doc__
    assert [other for other, one in BUILTIN.items() if one is kind] == [name]
    assert type(config_of(name)) is kind


@pytest.mark.parametrize("name", BUILTIN)
def test_required_options_are_those_that_are_asked_for(name: str) -> None:
    required = {key for key, field in BUILTIN[name].model_fields.items() if field.is_required()}
    assert required - {"weight"} == set(OPTIONS.get(name, {}))


@pytest.mark.parametrize("name", BUILTIN)
def test_the_function_takes_the_columns_that_it_declares_and_no_others(name: str) -> None:
    config = config_of(name)
    if name in MATHEMATICAL:
        pytest.importorskip("math_verify")
    scorer = config.scorer(name)
    if scorer is None:
        assert name == "reward_model" and not config.columns(name)
        return
    declared = {*config.columns(name), *scorer.needs}
    given = {key: value for key, value in COLUMNS.items() if key in declared}
    assert set(given) == declared
    assert math.isfinite(scorer.score(ScoredAnswer(ASK, r"a $7$", given)))
    for column in declared:
        without = {key: value for key, value in given.items() if key != column}
        with pytest.raises(ValueError, match=f"the row has no '{column}'"):
            scorer.score(ScoredAnswer(ASK, r"a $7$", without))


class Shout(AnswerReward):
    """1 if the text is the row's word in capitals, `strength` times."""

    compared: ClassVar[tuple[str, ...]] = ("word",)

    strength: int = 1

    def score(self, answer: ScoredAnswer) -> float:
        return float(answer.text == str(answer.column("word")).upper() + "!" * self.strength)


def recipe_on(rows: list[dict[str, Any]], folder: Path) -> Recipe:
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    stage = {
        "method": "grpo", "objective": "reward", "learning_rate": 1e-5, "max_steps": 1,
        "rewards": {"shout": {"weight": 2, "strength": 3}},
    }  # fmt: skip
    data = {"path": str(folder / "rows.jsonl"), "train": 4, "validation": 2, "test": 2}
    return parse_recipe({"name": "x", "base": "tiny-random", "data": data, "stages": {"g": stage}})


def test_a_new_reward_is_one_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="unknown reward 'shout'"):
        recipe_on([], tmp_path)
    monkeypatch.setitem(BUILTIN, "shout", Shout)
    rows = [{"prompt": f"Shout {n}", "word": f"a{n}"} for n in range(40)]
    recipe = recipe_on(rows, tmp_path)
    again = parse_recipe(recipe.model_dump(mode="json"))
    config = again.stages["g"].rewards["shout"]
    assert config == Shout(weight=2, strength=3)
    check_inputs(recipe)
    rewards = Rewards({"shout": config})
    parts = rewards.parts([ASK] * 2, ["A1!!!", "a1"], {"word": ["a1", "a1"]})
    assert parts == {"shout": [1.0, 0.0]} and rewards.total(parts) == [2.0, 0.0]
    assert measurable({"shout": config}, {"word": []}) and not measurable({"shout": config}, {})
    for row in rows:
        del row["word"]
    with pytest.raises(DataError, match=r"reward 'shout' of stage 'g'.*word|word.*reward 'shout'"):
        check_inputs(recipe_on(rows, tmp_path))
    with pytest.raises(ValueError, match="shout has no option 'strenght'; did you mean 'strength'"):
        configure({"shout": {"weight": 1, "strenght": 2}})


def test_reading_a_recipe_imports_nothing_heavy() -> None:
    code = (
        "import sys; from align.recipe import load_recipe; load_recipe('arithmetic'); "
        "print(sorted({'torch', 'trl', 'transformers', 'reasoning_gym'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
