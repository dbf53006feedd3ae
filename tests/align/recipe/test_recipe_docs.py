"""docs/recipes.md: every field is explained, and its examples load."""

import re
from pathlib import Path

import pytest
import yaml

from align.methods import METHODS
from align.recipe import (
    DataConfig,
    EvaluationConfig,
    LoraConfig,
    Recipe,
    StageConfig,
    SweepConfig,
    parse_recipe,
)
from align.recipe.lora import NOT_COMPOSED
from align.recipe.trl_fields.unsupported import patterns
from align.rewards.builtin import BUILTIN
from align.rewards.functions import PythonConfig
from align.space.spaces import KINDS

TEXT = (Path(__file__).parents[3] / "docs/recipes.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
PROSE = re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL)
CODE = set(re.findall(r"`([^`\n]+)`", PROSE))
MODELS = (
    Recipe, StageConfig, DataConfig, EvaluationConfig, LoraConfig, SweepConfig, PythonConfig,
    *BUILTIN.values(),
)  # fmt: skip


def section(title: str) -> str:
    """From this heading to the next of its rank."""
    found = re.search(rf"^(#+) {title}$(.*?)(?=^#{{1,3}} |\Z)", PROSE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found.group(2)


@pytest.mark.parametrize("model", dict.fromkeys(MODELS))
def test_every_field_is_explained(model: type[Recipe]) -> None:
    assert not set(model.model_fields) - CODE


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("The top", Recipe),
        ("Data", DataConfig),
        ("Evaluation", EvaluationConfig),
        ("Stages", StageConfig),
        ("LoRA", LoraConfig),
        ("The search", SweepConfig),
    ],
)
def test_each_table_has_a_row_for_each_field(title: str, model: type[Recipe]) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE)
    assert set(rows) >= set(model.model_fields)


def test_names_that_a_recipe_may_use_are_listed() -> None:
    objectives = {one for method in METHODS.values() for one in method.objectives}
    assert (
        not (set(BUILTIN) | objectives | {method.config_class for method in METHODS.values()})
        - CODE
    )
    assert all(any(f"{{{kind}: [" in code for code in CODE) for kind in KINDS)


def test_what_is_refused_is_listed() -> None:
    refused = {name for names in patterns().values() for name in names}
    assert not (refused | set(NOT_COMPOSED)) - CODE


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_load(example: str) -> None:
    stage = {"method": "sft", "objective": "nll", "learning_rate": 1e-4, "max_steps": 1}
    whole = {"name": "x", "base": "tiny-random", "data": {"task": "arithmetic"}}
    parse_recipe({**whole, "stages": {"sft": stage}, **yaml.safe_load(example)})


def test_links_within_the_document_have_a_heading() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", PROSE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PROSE)) <= headings
