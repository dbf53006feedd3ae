"""docs/data.md: its examples are read as it says, and its names are those of the code."""

import json
import re
from pathlib import Path

import pytest

from align.data.conversion.labels import LABEL_COLUMNS, as_label
from align.data.formats import inspect_file
from align.recipe.blocks import MAPPABLE
from tests.align.data.conversations import jsonl

TEXT = (Path(__file__).parents[3] / "docs/data.md").read_text(encoding="utf-8")
#: The headings of examples, and the methods that are drafted from them.
TRAINS = {
    "Conversations": ("sft",),
    "Instructions": ("sft",),
    "Pairs": ("reward", "dpo"),
    "Rated answers": ("reward", "dpo"),
    "Labels": ("kto",),
    "Prompts with answers": ("grpo",),
}
EXAMPLES = [
    (title, example)
    for title, section in re.findall(
        r"^##+ (.+?)\n(.*?)(?=^##+ |\Z)", TEXT, re.MULTILINE | re.DOTALL
    )
    for example in re.findall(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize(("title", "example"), EXAMPLES)
def test_an_example_is_read_as_its_heading_says(tmp_path: Path, title: str, example: str) -> None:
    rows = [
        json.loads(example.replace("2 + 3", f"{n} + 3").replace("2 and 3", f"{n} and 3"))
        for n in range(12)
    ]
    for number, row in enumerate(rows):
        if "thumbs" in row and number % 2:
            row["thumbs"] = "down"
    findings = inspect_file(jsonl(tmp_path / "data.jsonl", rows))
    assert (findings.methods, findings.prompts) == (TRAINS[title], 12)
    assert findings.ignored == ()


def test_every_heading_has_an_example() -> None:
    assert {title for title, _ in EXAMPLES} == set(TRAINS)


def test_names_are_those_of_the_code() -> None:
    code = set(re.findall(r"`([^`\n]+)`", TEXT))
    assert not {*MAPPABLE, *LABEL_COLUMNS} - code
    means = dict(re.findall(r"^\| a (good|bad) answer \| (.*) \|$", TEXT, re.MULTILINE))
    for word, values in means.items():
        assert {as_label(value) for value in values.split(", ")} == {word == "good"}
    assert len(means) == 2


def test_links_within_the_page_have_a_heading() -> None:
    headings = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", TEXT, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings
