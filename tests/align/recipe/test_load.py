"""Reading recipes: what they resolve to, and what is said about wrong ones."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from align.errors import RecipeError
from align.recipe import builtin_recipes, load_recipe, parse_recipe
from tests.align.recipe.raw import STAGE, changed
from tests.odd_names import ODD_NAMES


@pytest.mark.parametrize("name", builtin_recipes())
def test_shipped_recipes_are_valid_and_described(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert all(stage.space() for stage in recipe.stages.values())


def test_the_tutorial_starts_from_its_own_values() -> None:
    recipe = load_recipe("tutorial")
    first = {name: stage.resolve() for name, stage in recipe.stages.items()}
    assert recipe.base == "Qwen/Qwen2.5-0.5B-Instruct"
    assert {name: one.learning_rate for name, one in first.items()} == {
        "sft": 2e-4,
        "reward": 1e-4,
        "dpo": 5e-6,
        "grpo": 1e-5,
    }
    assert {(one.lora.r, one.lora.lora_alpha, one.lora.lora_dropout) for one in first.values()} == {
        (8, 16, 0.05)
    }
    assert {name: one.completions_per_step for name, one in first.items()} == {
        "sft": 8,
        "reward": 4,
        "dpo": 4,
        "grpo": 4,
    }
    assert (first["dpo"].beta, first["grpo"].num_generations, recipe.steps("grpo")) == (0.1, 4, 15)
    assert first["grpo"].rewards["brevity"].weight == 0.2
    assert [recipe.stages[name].parent for name in recipe.order()] == [None, "sft", "sft", "dpo"]
    assert recipe.stages["grpo"].reward_model == "reward"


def test_scientific_notation_is_a_number_in_a_choice_too() -> None:
    """YAML reads 1e-3 as text."""
    raw = yaml.safe_load("{choice: [1e-3, 1e-4]}")
    space = parse_recipe(changed("stages.sft.learning_rate", raw)).stages["sft"].space()
    assert space["learning_rate"].values == (0.001, 0.0001)


def test_relative_data_paths_start_at_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(changed("data", {"path": "rows.jsonl"})))
    assert load_recipe(file).data_of("sft").path == str(tmp_path / "rows.jsonl")


WRONG: list[tuple[str, Any, str]] = [
    ("stages.sft.lerning_rate", 1, "unknown field 'stages.sft.lerning_rate'; did you mean"),
    ("stages.sft.lora.rank", 8, "unknown field 'stages.sft.lora.rank'; allowed: r, lora_alpha"),
    ("stages.sft.learning_rate", "high", "expected a number above 0.*got 'high'"),
    ("stages.sft.learning_rate", -1, "learning_rate: expected a number above 0.*got -1"),
    ("stages.sft.learning_rate", float("nan"), "got nan"),
    ("stages.sft.learning_rate", {"loguniform": [1e-3, 1e-4]}, "learning_rate: empty search space"),
    ("stages.sft.learning_rate", {"loguniform": [1e-4, 1], "default": "x"}, "'x' is not a number"),
    ("stages.sft.lora.r", {"choice": []}, "empty search space"),
    ("stages.sft.lora.r", {"choice": [8, "a"]}, "lora.r: expected a whole number.*got 'a'"),
    ("stages.sft.lora.r", {"choise": [8]}, "exactly one of loguniform, uniform, int, choice"),
    ("stages.sft.lora.r", {"uniform": [4, 16]}, "search it by int or choice"),
    ("stages.sft.lora.r", 0, "lora.r: expected a whole number from 1 on"),
    ("stages.sft.lora.lora_dropout", 1.5, "lora_dropout: expected a number from 0 to below 1"),
    ("stages.sft.lora.lora_alpha", "2 * q", "unknown name 'q'"),
    ("stages.sft.lora.lora_alpha", "r - 8", "lora_alpha: expected a number above 0.*got 0"),
    ("stages.sft.lora.lora_alpha", "2 / (r - 8)", "division by zero"),
    ("stages.sft.max_steps", "ten", "stages.sft.max_steps: .*got 'ten'"),
    ("stages.sft.max_steps", {"uniform": [1, 9]}, "max_steps: .*search it by int or choice"),
    ("stages.sft.save_steps", {"int": [1, 9]}, "save_steps: this field takes one value and cannot"),
    ("stages.sft.num_train_epochs", 1, "one of max_steps and num_train_epochs"),
    ("stages.sft.beta", 0.1, "'beta' is a field of dpo, kto, orpo, grpo, rloo; sft has none"),
    ("stages.sft.objective", "win_rate", "allowed: accuracy, reward, nll"),
    ("stages.sft.method", [], "stages.sft.method: "),
    ("stages.sft.learning_rate", {"tie": "2 *"}, "learning_rate: 2 .: no expression"),
    ("stages.sft.learning_rate", "1+" * 2000 + "1", "an expression has 1000 characters at most"),
    ("stages.sft.parent", "nobody", "unknown stage 'nobody'; allowed: sft"),
    ("stages.sft.parent", "sft", "in a circle"),
    ("stages.sft.rewards", {"corectness": 1.0}, "did you mean 'correctness'.*brevity"),
    ("stages.sft.sweep.rungs", [5, 10], "every rung must come before the last step"),
    ("stages.a/b", STAGE, "stages.a/b: a name is lower-case"),
    ("data.path", "rows.jsonl", "exactly one of task, path, dataset"),
    ("name", "No Spaces", "name: a name is lower-case"),
    ("stages", {}, "stages: "),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("path", "value", "message"), WRONG)
def test_a_wrong_recipe_gets_one_line_that_names_the_field(
    path: str, value: Any, message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        parse_recipe(changed(path, value), "mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "not YAML"), ("- 1", "a recipe is a mapping"), ("", "a recipe is a mapping")],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(tmp_path / "bad.yaml")


def test_an_unknown_name_lists_the_shipped_recipes() -> None:
    with pytest.raises(RecipeError, match=r"neither a file nor .*tutorial"):
        load_recipe("tutrial")


def test_a_name_that_is_too_long_for_a_file_is_shortened_in_the_message() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'x{200}'"):
        load_recipe("x" * 300)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_data_beside_a_recipe_is_read_whatever_their_folders_name(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "rows?1.jsonl").write_text("{}")
    data = {"path": "rows?1.jsonl", "train": 1, "validation": 1, "test": 1}
    raw = {"name": "mine", "base": "tiny-random", "data": data, "stages": {"sft": STAGE}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(raw))
    recipe = load_recipe(folder / "recipe.yaml")
    assert recipe.data is not None and recipe.data.path == str(folder / "rows?1.jsonl")
