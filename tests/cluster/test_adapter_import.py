"""`alignery adapter import`: a version in the registry, or nothing at all."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from align.base import load_base
from align.errors import AdapterError
from alignery import app
from cluster.commands import adapter_app
from cluster.errors import RegistryError
from cluster.registry import open_registry
from cluster.settings import Settings

Q = "base_model.model.model.layers.1.self_attn.q_proj"


def lora(folder: Path, b: float = 0.5, **config: Any) -> Path:
    """A LoRA of rank 2 on a layer of the tiny base."""
    folder.mkdir()
    tensors = {f"{Q}.lora_A.weight": torch.ones(2, 64), f"{Q}.lora_B.weight": b * torch.ones(64, 2)}
    save_file(tensors, folder / "adapter_model.safetensors")
    entries: dict[str, Any] = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": [Q[17:]],
    }
    named = {"base_model_name_or_path": "tiny-random"}
    (folder / "adapter_config.json").write_text(json.dumps({**entries, **named, **config}))
    return folder


def run(*words: str) -> Any:
    return CliRunner().invoke(adapter_app, ["import", *words], catch_exceptions=False)


def test_an_adapter_becomes_the_next_version_of_its_line(tmp_path: Path) -> None:
    folder = str(lora(tmp_path / "theirs"))
    said = json.loads(run(folder, "--line", "mine/sft", "--json").stdout)
    assert (said["name"], said["base"], said["rank"]) == ("mine/sft:1", "tiny-random", 2)
    assert (said["peft_type"], said["method"], said["notes"]) == ("LORA", "imported", [])
    registry = open_registry(Settings())
    version = registry.resolve("mine/sft:1")
    assert version.adapter_id == said["id"]
    stored = {path.name for path in registry.folder(version).iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "manifest.json"} == stored
    again = run(folder, "--line", "mine/sft")
    assert again.exit_code == 0 and again.stdout.startswith(
        f"mine/sft:1 is {said['id'][:12]}: LORA"
    )


def test_notes_are_for_people_and_beside_the_answer(tmp_path: Path) -> None:
    folder = lora(tmp_path / "theirs", base_model_name_or_path="/home/them/model")
    result = run(str(folder), "--line", "mine/sft", "--base", "tiny-random")
    assert result.stdout.count("\n") == 1
    assert "note: the config names base '/home/them/model'" in result.stderr


@pytest.mark.parametrize(
    ("entries", "line", "words"),
    [
        ({"peft_type": "IA3"}, "mine/sft", "peft_type IA3"),
        ({"base_model_name_or_path": "/home/them/model"}, "mine/sft", "--base NAME"),
        ({}, "mine", "cannot name a line"),
    ],
)
def test_a_refusal_leaves_nothing(
    tmp_path: Path, home: Path, entries: dict[str, Any], line: str, words: str
) -> None:
    folder = lora(tmp_path / "theirs", **entries)
    with pytest.raises((AdapterError, RegistryError), match=words):
        run(str(folder), "--line", line)
    assert open_registry(Settings()).versions() == []
    assert not list((home / "storage").glob("adapters/*"))


def test_an_adapter_that_is_registered_for_another_base_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    base = load_base("tiny-random")
    base.model.save_pretrained(copy)
    base.tokenizer.save_pretrained(copy)
    template = copy / "chat_template.jinja"  # with another, it is no copy of the built-in base
    template.write_text(template.read_text() + " ")
    run(str(lora(tmp_path / "named", base_model_name_or_path=str(copy))), "--line", "mine/sft")
    theirs = str(lora(tmp_path / "theirs"))
    for line in ("mine/sft", "mine/other"):
        with pytest.raises(RegistryError, match=r"as mine/sft:1 for base '.*copy', and cannot"):
            run(theirs, "--line", line, "--base", "tiny-random")
    assert [version.name for version in open_registry(Settings()).versions()] == ["mine/sft:1"]


def test_a_refusal_is_a_line_and_an_exit_code(tmp_path: Path) -> None:
    folder = lora(tmp_path / "theirs", b=float("nan"))
    result = CliRunner().invoke(app, ["adapter", "import", str(folder), "--line", "mine/sft"])
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert result.stderr.startswith("error: ") and "NaN" in result.stderr


def test_each_command_names_the_other(tmp_path: Path) -> None:
    helped = [
        CliRunner().invoke(adapter_app, [name, "--help"]).stdout for name in ("import", "register")
    ]
    assert "adapter register" in " ".join(helped[0].split())
    assert "adapter import" in " ".join(helped[1].split())
    theirs = str(lora(tmp_path / "theirs"))
    with pytest.raises(AdapterError, match="alignery adapter import FOLDER --line"):
        CliRunner().invoke(adapter_app, ["register", "a/b", theirs], catch_exceptions=False)


def test_names_from_files_cannot_steer_the_terminal(
    tmp_path: Path,
) -> None:
    hostile = "/x/\x1b[31mred\x1b]0;title\x07\nerror: forged"
    folder = str(lora(tmp_path / "theirs", base_model_name_or_path=hostile))
    command = ["adapter", "import", folder, "--line", "mine/sft"]
    for options, start in (([], "error: "), (["--base", "tiny-random"], "note: ")):
        result = CliRunner().invoke(app, [*command, *options], color=True)
        assert result.stderr.startswith(start) and result.stderr.count("\n") == 1
        assert "\\x1b[31mred\\x1b]0;title\\x07 error: forged" in result.stderr
        assert "\x1b" not in result.stderr
