"""What every training method declares, and what its stages do from the data to an adapter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from align.data.formats import FORMATS, inspect_file
from align.data.splits import load_split
from align.errors import DataError, RecipeError
from align.evaluation.metrics import key_of
from align.methods import METHODS, is_reward_model, names_of
from align.recipe import parse_recipe
from align.scaffold import draft_recipe
from align.training.model_card import card
from align.training.trial import Trial
from tests.align.methods.tiny_recipe import recipe


def test_methods_are_told_apart() -> None:
    """A stream shared by two methods would train both on the same problems."""
    for attribute in ("order", "task_stream", "title", "description", "config_class"):
        values = [getattr(method, attribute) for method in METHODS.values()]
        assert len(set(values)) == len(values), attribute
    assert max(method.task_stream for method in METHODS.values()) < 10  # seeds are tens apart
    assert names_of("online") == ["grpo", "rloo"]
    assert names_of("trains_reward_model") == ["reward"]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_names_formats_and_methods_that_exist(method: str) -> None:
    specification, formats = METHODS[method], {one.name: one for one in FORMATS}
    assert set(specification.drafted_from) <= set(specification.formats) <= set(formats)
    assert specification.task_format in specification.formats
    assert set(specification.draft_parents) <= set(METHODS)
    columns = {column for name in specification.formats for column in formats[name].columns}
    assert set(specification.sides) <= columns | {"completion"}


@pytest.mark.parametrize("method", METHODS)
def test_the_built_in_task_has_rows_for_it(method: str) -> None:
    rows = load_split(recipe(method), "one", "train")
    assert {"prompt", *METHODS[method].sides} <= set(rows[0])
    others = [load_split(recipe(other), "one", "train") for other in METHODS if other != method]
    prompts = [row["prompt"] for row in rows]
    assert all(prompts != [row["prompt"] for row in other] for other in others)


@pytest.mark.parametrize("method", ["orpo", "rloo"])
def test_a_trial_is_trained_resumed_and_published(tmp_path: Path, method: str) -> None:
    """Across a rung, as in two processes: the second trial continues from the first one's files."""
    folder, of = tmp_path / "work", recipe(method)

    def trial() -> Trial:
        return Trial(of, "one", {}, parent=None, reward_model=None, folder=folder)

    first = trial().advance(1)
    second = trial()
    assert second.step == 1
    report = second.advance(3)
    manifest = second.publish(tmp_path / "published", report)
    objective = key_of(of.stages["one"].objective, method)
    assert first["objective"] == first[objective] and report["objective"] == report[objective]
    assert report["kl_per_token"] > 0, "nothing was learned"
    assert (manifest.method, manifest.data["train"].rows) == (method, 16)
    assert METHODS[method].description in card(manifest)
    assert (tmp_path / "published" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("columns", "methods", "stages"),
    [
        ({"chosen": "yes", "rejected": "no"}, ["orpo"], ["orpo"]),
        ({"chosen": "yes", "rejected": "no"}, ["orpo", "reward"], ["reward", "orpo"]),
        ({"answer": "4", "completion": "it is 4"}, ["rloo", "sft"], ["sft", "rloo"]),
    ],
)
def test_recipe_new_drafts_the_methods_that_are_asked_for(
    tmp_path: Path, columns: dict[str, str], methods: list[str], stages: list[str]
) -> None:
    data = tmp_path / "rows.jsonl"
    lines = [
        json.dumps({"prompt": f"what is {n}?", **{k: f"{v} {n}" for k, v in columns.items()}})
        for n in range(60)
    ]
    data.write_text("\n".join(lines))
    findings = inspect_file(data)
    text = draft_recipe(findings, "mine", "tiny-random", tmp_path / "mine.yaml", methods)
    drafted = parse_recipe(yaml.safe_load(text), folder=tmp_path)
    assert [stage.method for stage in drafted.stages.values()] == stages
    for stage in drafted.stages.values():
        assert METHODS[stage.method].title in text
        low, default, high = map(float, METHODS[stage.method].learning_rates)
        assert stage.space()["learning_rate"].default == default and low < default < high
    assert drafted.order()[0] == stages[0]
    with pytest.raises(RecipeError, match="no method 'orpp'; did you mean 'orpo'"):
        draft_recipe(findings, "mine", "tiny-random", tmp_path / "mine.yaml", ["orpp"])
    wrong = "sft" if "chosen" in columns else "dpo"
    with pytest.raises(DataError, match=f"{wrong} cannot train on its columns"):
        draft_recipe(findings, "mine", "tiny-random", tmp_path / "mine.yaml", [wrong])


def test_an_unknown_method_of_an_adapter_is_no_reward_model() -> None:
    """Adapters of a later version may be registered."""
    assert not is_reward_model("grail") and is_reward_model("reward")
