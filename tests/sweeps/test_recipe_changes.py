"""Which changes of a recipe begin a new search, and what is said of them."""

import json

import pytest
from pydantic import BaseModel

from align.recipe import Recipe, StageConfig
from align.recipe.blocks import DataConfig, EvaluationConfig, SweepConfig
from sweeps import sweep_store
from sweeps.recipe_changes import explain, field_changes, restarts
from sweeps.sweep_store import FAILED, FINISHED, STOPPED, Search, begin, sweeps, update
from tests.sweeps.toy_recipe import RECIPE

#: Fields that a search goes on with; all others begin a new one.
FREE = {
    "budget_seconds",
    "data.path",
    "sweep.trials",
    "sweep.retries",
    "sweep.finalists",
    "sweep.keep_checkpoints",
    "sweep.stop_when",
}
#: Fields that others stand for: an adapter's id for its name, the file's content for its path.
NAMES = {"parent", "reward_model", "data", "rewards", "sweep", "lora", "data.path"}


def fields_of(model: type[BaseModel], block: str = "") -> list[str]:
    return [f"{block}{name}" for name in model.model_fields]


def test_every_field_of_a_recipe_has_its_class():
    paths = [
        *fields_of(StageConfig),
        *fields_of(SweepConfig, "sweep."),
        *fields_of(DataConfig, "data."),
        *fields_of(EvaluationConfig, "evaluation."),
    ]
    free = {path for path in paths if path not in NAMES - {"data.path"} and not restarts(path)}
    assert free == FREE & set(paths)


def changed(path: str, value: object) -> Recipe:
    """The toy recipe with another value of a field of its stage `sft`."""
    raw = json.loads(json.dumps(RECIPE))
    place = raw["stages"]["sft"]
    *blocks, name = path.split(".")
    for block in blocks:
        place = place.setdefault(block, {})
    place[name] = value
    return Recipe.model_validate(raw)


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("sweep.trials", 9, "sweep.trials 4 → 9"),
        ("sweep.finalists", 1, "sweep.finalists 3 → 1"),
        ("budget_seconds", 60.0, "budget_seconds none → 60.0"),
        ("max_steps", 40, "max_steps 30 → 40"),
        ("sweep.rungs", [5], "sweep.rungs [10, 20] → [5]"),
        ("sweep.sampler", "tpe", "sweep.sampler random → tpe"),
        ("lora.use_rslora", True, "lora.use_rslora false → true"),
        ("data", {"task": "arithmetic", "train": 9}, "data.train 512 → 9"),
        (
            "learning_rate",
            {"loguniform": [1e-5, 1e-2], "default": 1e-3},
            "learning_rate loguniform 1e-05 to 0.1, default 0.001 → "
            "loguniform 1e-05 to 0.01, default 0.001",
        ),
    ],
)
def test_a_change_restarts_the_search_exactly_if_the_search_is_another(recipe, path, value, text):
    old, new = Search(recipe, "sft"), Search(changed(path, value), "sft")
    (change,) = field_changes(old, new)
    assert str(change) == text
    assert change.restarts == (old.digest != new.digest)


def test_what_is_said_at_the_beginning_of_a_run(database, recipe):
    def begun(search: Search) -> tuple[str, int]:
        earlier = sweeps(database, search.line)
        planned = explain(search, sweep_store.same_search(database, search), earlier)
        row = begin(database, search)
        said = explain(search, row, earlier)
        assert planned.replace("search since", f"search, run {row.run}, since") == said
        return said, row.id

    said, first = begun(Search(recipe, "sft"))
    assert said == ""
    assert begun(Search(recipe, "sft"))[0] == ""
    said, same = begun(Search(changed("sweep.trials", 9), "sft"))
    assert (said, same) == ("goes on with run 1; since it began: sweep.trials 4 → 9", first)

    update(database, first, state=STOPPED)
    said, other = begun(Search(changed("max_steps", 40), "sft"))
    assert said == (
        "a new search, run 2, since run 1 differs: max_steps 30 → 40. Run 1 stays as it is; with "
        "its values in the recipe it goes on; to learn from it, set sweep.warm_start: toy/sft:1"
    )
    update(database, other, state=FINISHED)
    said, _ = begun(Search(changed("sweep.warm_start", "toy/sft:1"), "sft"))
    assert said.endswith("sweep.warm_start none → toy/sft:1. Run 2 stays as it is")


def test_another_parent_is_a_new_search(database, recipe):
    begin(database, Search(recipe, "reward", "1" * 64))
    search = Search(recipe, "reward", "2" * 64)
    earlier = sweeps(database, search.line)
    assert f"parent {'1' * 12} → {'2' * 12}. Run 1" in explain(search, None, earlier)


def test_a_file_with_other_content_is_a_new_search(database, recipe, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n')
    search = Search(changed("data", {"path": str(file)}), "sft")
    begin(database, search)
    file.write_text('{"prompt": "a", "completion": "c"}\n')
    said = explain(search, None, sweeps(database, search.line))
    assert "differs: the content of its data or reward functions has changed" in said


def test_nothing_is_said_of_a_search_that_failed(database, recipe):
    update(database, begin(database, Search(recipe, "sft")).id, state=FAILED)
    search = Search(changed("max_steps", 40), "sft")
    assert explain(search, None, sweeps(database, search.line)) == ""


def test_a_recipe_of_another_version_is_named_as_such(database, recipe):
    row = begin(database, Search(recipe, "sft"))
    raw = {**row.recipe, "unheard_of": 1}
    update(database, row.id, recipe=raw)
    search = Search(changed("max_steps", 40), "sft")
    said = explain(search, None, sweeps(database, search.line))
    assert "since run 1 differs: its recipe is of another version of Alignery." in said
