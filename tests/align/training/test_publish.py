"""An adapter is published whole, with what is known of it, or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest
from peft import PeftConfig, PeftModel

from align.adapters import adapter_id, read_manifest
from align.adapters.folder import CONFIG
from align.base import model_source
from align.errors import TrainingError
from align.evaluation.eval_result import EvalResult, write_measured
from align.evaluation.examples import read_examples
from align.evaluation.metrics import Evaluation
from align.training.checkpoints import PUBLISHED
from align.training.publish import Origin, publish
from tests.align.training.short_runs import SMOKE, run


@pytest.fixture
def origin() -> Origin:
    config = SMOKE.stages["sft"].resolve()
    return Origin(SMOKE, "sft", config, {"learning_rate": 0.001}, None, None)


def test_files_manifest_card_and_rows_replace_what_was_there(tiny, origin, tmp_path):
    _, checkpoint = run(tiny, "sft", tmp_path / "run", to=1, steps=1)
    items = {"keys": {"answers": ["a"]}, "prompts": {"answers": ["A?"]}}
    answered = Evaluation("it", "validation", correct=[1.0], **items)
    write_measured(checkpoint, EvalResult(answered, base_metrics={"accuracy": 0.25}))
    target = tmp_path / "target"
    target.mkdir()
    (target / "older").touch()
    manifest = publish(origin, checkpoint, target, {"accuracy": 1.0, "seconds_train": 2.0})
    assert sorted(path.name for path in target.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "evaluation.jsonl",
        "manifest.json",
    ]  # fmt: skip
    assert read_manifest(target) == manifest
    assert manifest.id == adapter_id(target) and manifest.line == "arithmetic-smoke/sft"
    assert (manifest.rank, manifest.parents, manifest.params) == (4, [], {"learning_rate": 0.001})
    assert (manifest.metrics["accuracy"], manifest.base_metrics) == (1.0, {"accuracy": 0.25})
    assert manifest.seconds == 2.0
    assert [example.numbers for example in read_examples(target)] == [{"accuracy": 1.0}]


def test_a_checkpoint_that_lacks_a_file_leaves_what_was_there(tiny, origin, tmp_path):
    _, checkpoint = run(tiny, "sft", tmp_path / "run", to=1, steps=1)
    (checkpoint / "record.json").unlink()
    target = tmp_path / "target"
    target.mkdir()
    (target / "older").touch()
    with pytest.raises(TrainingError, match="no readable record"):
        publish(origin, checkpoint, target, {})
    assert [path.name for path in tmp_path.iterdir() if path != tmp_path / "run"] == ["target"]
    assert [path.name for path in target.iterdir()] == ["older"]


def test_the_config_names_the_base_without_a_path_of_this_machine(tiny, tmp_path):
    """Others find the base by it, and PEFT reads the folder."""
    folder = model_source("tiny-random")
    _, checkpoint = run(replace(tiny, ref=folder), "sft", tmp_path / "run", to=1, steps=1)
    config = PeftConfig.from_pretrained(checkpoint / PUBLISHED)
    assert config.base_model_name_or_path == f"tiny-random-sha256-{tiny.digest[:12]}"
    assert str(Path(folder).parent) not in (checkpoint / PUBLISHED / CONFIG).read_text()
    PeftModel.from_pretrained(tiny.shell(), checkpoint / PUBLISHED)
