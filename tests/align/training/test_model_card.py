"""The model card says what the manifest knows, for a person and for the hub."""

import re
from typing import Any

import pytest
import yaml

from align.adapters import Manifest
from align.training.model_card import card

ABOUT: dict[str, Any] = {
    "id": "a" * 64,
    "base": "org/model",
    "base_digest": "b" * 64,
    "line": "arithmetic/dpo",
    "method": "dpo",
    "rank": 16,
}
FULL: dict[str, Any] = {
    **ABOUT,
    "base_revision": "c0ffee",
    "parents": ["c" * 64, "d" * 64],
    "parent_lines": ["arithmetic/sft", "arithmetic/start"],
    "reward_model": "e" * 64,
    "recipe": {"name": "arithmetic", "description": "Word problems."},
    "stage": {
        "method": "dpo",
        "data": {"path": "/home/someone/pairs.jsonl"},
        "learning_rate": 0.0002,
        "beta": 0.1,
        "lora": {"r": 8, "target_modules": "all-linear"},
        "num_generations": 8,
    },
    "data": {
        "train": {"rows": 1480, "fingerprint": "x"},
        "validation": {"rows": 64, "fingerprint": "y"},
    },
    "metrics": {"accuracy": 0.5, "win_rate": 0.625, "length": 101.4, "reward/brevity": 0.31},
    "parent_metrics": {"accuracy": 0.45, "length": 120.0},
    "base_metrics": {"accuracy": 0.05},
    "against_parent": {"accuracy": {"difference": 0.05, "low": -0.02, "high": 0.12, "items": 64}},
    "against_base": {"accuracy": {"difference": 0.45, "low": 0.3, "high": 0.6, "items": 64}},
    "training": {"lengths": {"too_long": 3}, "out_of_memory": [{"step": 1}], "skipped_steps": 3},
    "dtype": "bfloat16",
    "wall_seconds": 1234.5,
    "versions": {"torch": "2.13.0"},
    "code_commit": "abc-dirty",
}


def rows(text: str) -> dict[str, list[str]]:
    """Cells of all tables by what stands first."""
    found = [re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if "|" in line]
    return {cells[0]: cells[1:] for cells in found}


def test_the_front_matter_is_what_the_hub_reads():
    _, front, _ = card(Manifest(**FULL)).split("---\n", 2)
    read = yaml.safe_load(front)
    assert read["base_model"] == "org/model" and read["library_name"] == "peft"
    assert {"base_model:adapter:org/model", "dpo", "lora"} <= set(read["tags"])


def test_figures_stand_beside_parent_and_base_with_their_intervals():
    found = rows(card(Manifest(**FULL)))
    assert found["accuracy"] == [
        "50.0 %", "45.0 %", "+5.0 (-2.0 to +12.0) points", "5.0 %", "+45.0 (+30.0 to +60.0) points",
    ]  # fmt: skip
    assert found["answer length, characters"] == ["101.4", "120", "–", "–", "–"]
    assert found["answers preferred to the parent's by the reward model"][0] == "62.5 %"
    assert found["reward: brevity"][0] == "0.31"


def test_how_it_came_about():
    text = card(Manifest(**FULL))
    settings = rows(text)
    assert settings["`learning_rate`"] == ["`0.0002`"] and settings["`lora.r`"] == ["`8`"]
    assert "`num_generations`" not in settings  # no field of this method
    assert "arithmetic/sft `cccccccccccccccc` → arithmetic/start `dddddddddddddddd`" in text
    assert "1,480 rows of train" in text and "3 were cut at `max_length`" in text
    assert "pairs.jsonl" in text and "/home/someone" not in text
    assert "revision `c0ffee`" in text and "commit `abc-dirty`" in text
    assert "micro-batch was halved" in text and "3 step(s) changed nothing" in text


def test_how_to_load_it():
    text = card(Manifest(**FULL))
    assert "AutoModelForCausalLM" in text and 'source = "org/model"' in text
    assert "alignery serve run" in text and "arithmetic/dpo@champion" in text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    compile(code[1], "card", "exec")
    reward = card(Manifest(**{**FULL, "method": "reward", "pad_token_id": 7}))
    assert "AutoModelForSequenceClassification" in reward and "pad_token_id = 7" in reward


def test_a_built_in_base_has_its_public_name():
    text = card(Manifest(**{**FULL, "base": "smollm2-135m-instruct"}))
    read = yaml.safe_load(text.split("---\n", 2)[1])
    assert read["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "base_model:adapter:HuggingFaceTB/SmolLM2-135M-Instruct" in read["tags"]
    assert 'model_source("smollm2-135m-instruct")' in text and "rounded to 4 bits" in text


def test_what_was_not_measured_is_said():
    text = card(Manifest(**FULL))
    missing = text.partition("Not measured of this adapter:")[2].splitlines()[0]
    assert "negative log-likelihood" in missing and "accuracy" not in missing


@pytest.mark.parametrize("base", ["tiny-random", "/data/models/mine", "org/model"])
def test_an_adapter_of_which_little_is_known_has_a_card_too(base):
    text = card(Manifest(**{**ABOUT, "base": base}))
    assert "Nothing was measured." in text and "/data/models" not in text
    assert ("model_source" in text) == (base == "tiny-random")
    assert ("the folder with these weights" in text) == (base == "/data/models/mine")
