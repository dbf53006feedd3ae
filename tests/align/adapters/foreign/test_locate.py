"""An adapter is where people keep it; what is none is named, with what leads to one."""

import json
from pathlib import Path

import pytest
import torch

from align.adapters.foreign.locate import locate
from align.errors import AdapterError
from tests.align.adapters.foreign.hand_made import CONFIG, write

TENSORS = "adapter_model.safetensors"


def config(folder, **entries):
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **entries}))
    return folder


def test_a_folder_and_either_of_its_files_are_the_same_adapter(tmp_path):
    folder = write(tmp_path / "lora")
    for source in (folder, folder / TENSORS, folder / "adapter_config.json"):
        files = locate(source)
        assert (files.folder, files.tensors, files.notes) == (folder, (folder / TENSORS,), ())
        assert files.config["r"] == 2


def test_the_only_adapter_below_a_folder_is_taken_and_said(tmp_path):
    write(tmp_path / "run" / "checkpoint-500")
    files = locate(tmp_path / "run")
    assert files.folder.name == "checkpoint-500"
    assert files.notes == ("the adapter lies in the subfolder checkpoint-500",)


def test_of_several_checkpoints_none_is_guessed(tmp_path):
    for step in (500, 1000):
        write(tmp_path / f"checkpoint-{step}")
    with pytest.raises(AdapterError, match=r"2 adapters lie in it; name one: .*checkpoint-500"):
        locate(tmp_path)
    assert locate(tmp_path / "checkpoint-1000").folder.name == "checkpoint-1000"


def test_adapters_saved_together_are_named_beside_the_first(tmp_path):
    write(tmp_path / "both")
    write(tmp_path / "both" / "second")
    assert locate(tmp_path / "both").notes == (
        "the adapter in the folder itself was taken; others lie in second",
    )
    assert locate(tmp_path / "both" / "second").notes == ()


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "adapter_model.pth"])
def test_a_pickle_is_never_read(tmp_path, name):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    folder = config(tmp_path / "theirs")
    torch.save(Trap(), folder / name)
    for source in (folder, folder / name):
        with pytest.raises(
            AdapterError,
            match=r"never read here.* again: python -c",
        ):
            locate(source)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "expected a PEFT adapter: a folder with adapter_config.json and adapter_model"),
        (["config.json", "model.safetensors"], "a whole model and no adapter: name it as a base"),
        (["adapters.safetensors"], "MLX's own format.*mlx_lm.fuse"),
        (["lora.gguf"], "llama.cpp's GGUF"),
        (["lit_model.pth.lora"], "litgpt merge_lora"),
        (["adapter_0.pt"], "torchtune's own format.*save_adapter_weights_only"),
        (["zero_to_fp32.py"], "zero_to_fp32.py . out"),
    ],
)
def test_other_formats_are_named_with_their_converter(tmp_path, names, words):
    for name in names:
        (tmp_path / name).write_bytes(b"{}")
    for source in (tmp_path, *(tmp_path / name for name in names if len(names) == 1)):
        with pytest.raises(AdapterError, match=words):
            locate(source)


def test_mlx_writes_a_config_of_the_same_name(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"fine_tune_type": "lora", "num_layers": 16}')
    with pytest.raises(AdapterError, match=r"MLX's own format, not PEFT's.*mlx_lm\.fuse"):
        locate(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "not readable as JSON"),
        (b"[1]", "expected a JSON object, not list"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"[" * 200_000, "not readable as JSON"),
        (b" " * (17 * 2**20), "larger than 16 MiB"),
    ],
)
def test_a_config_that_is_none(tmp_path, text, words):
    folder = write(tmp_path)
    (folder / "adapter_config.json").write_bytes(text)
    with pytest.raises(AdapterError, match=words):
        locate(folder)


def test_a_hub_id_is_downloaded_first():
    with pytest.raises(AdapterError, match="hf download org/their-lora --local-dir FOLDER"):
        locate(Path("org/their-lora"))
    with pytest.raises(AdapterError, match=r"/org/their-lora: no such file or folder$"):
        locate(Path("/org/their-lora"))


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({}, "no weight_map"),
        ({"weight_map": {"a": "../../other.safetensors"}}, "no safetensors file of this folder"),
        ({"weight_map": {"a": "part.bin"}}, "no safetensors file of this folder"),
        ({"weight_map": {"a": "part.safetensors"}}, r"part\.safetensors is missing"),
    ],
)
def test_an_index_names_files_of_its_folder(tmp_path, index, words):
    folder = config(tmp_path / "parts")
    (folder / f"{TENSORS}.index.json").write_text(json.dumps(index))
    with pytest.raises(AdapterError, match=words):
        locate(folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "no such file or folder"),
        ("notes.txt", "expected an adapter's folder or its adapter_model"),
        ("alone.safetensors", r"no adapter_config\.json beside it"),
    ],
)
def test_a_file_that_is_no_adapter(tmp_path, name, words):
    if name != "nowhere":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(AdapterError, match=words):
        locate(tmp_path / name)
