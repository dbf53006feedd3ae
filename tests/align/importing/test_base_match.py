"""An adapter belongs to weights: other weights are refused, those that cannot be seen said."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from align.base import load_base, model_source
from align.errors import AdapterError, ModelError
from align.importing.base_match import find_base, shapes_of


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """A folder with the tiny base's weights, and others of the same shapes."""
    root = tmp_path_factory.mktemp("bases")
    for name in ("same", "other", "quantised"):
        shutil.copytree(model_source("tiny-random"), root / name)
    tensors = load_file(root / "other" / "model.safetensors")
    changed = {name: tensor + 0.01 for name, tensor in tensors.items()}
    save_file(changed, root / "other" / "model.safetensors", metadata={"format": "pt"})
    config = root / "quantised" / "config.json"
    quantised = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    config.write_text(json.dumps({**json.loads(config.read_text()), **quantised}))
    return root


def test_the_named_base_is_taken_as_it_is(copies):
    for named in ("tiny-random", str(copies / "other")):
        base, notes = find_base(named, None, None)
        assert (base.ref, notes) == (named, [])


def test_a_folder_with_a_built_in_bases_weights_is_that_base(copies):
    base, (note,) = find_base(str(copies / "same"), None, None)
    assert base.ref == "tiny-random" and "its base here" in note
    template = copies / "same" / "chat_template.jinja"
    before = template.read_text()
    template.write_text(before + " ")
    try:
        assert find_base(str(copies / "same"), None, None)[0].ref == str(copies / "same")
    finally:
        template.write_text(before)


def test_the_same_weights_under_another_name_are_the_base(copies):
    base, notes = find_base(str(copies / "same"), None, "tiny-random")
    assert (base.ref, notes) == ("tiny-random", [])
    assert find_base(None, None, "tiny-random") == (base, [])


def test_other_weights_of_the_same_shapes_are_refused(copies):
    with pytest.raises(AdapterError, match="are not those of 'tiny-random'"):
        find_base(str(copies / "other"), None, "tiny-random")
    digits = load_base("tiny-random").digest[:12]
    assert find_base(f"mine-sha256-{digits}", None, "tiny-random")[1] == []
    with pytest.raises(AdapterError, match=r"weights \(aaaaaaaaaaaa\) are not those"):
        find_base(f"mine-sha256-{'a' * 12}", None, "tiny-random")


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (None, "names no base"),
        ("/home/them/model", "a folder that is not on this machine"),
        ("C:\\models\\llama", "a folder that is not on this machine"),
        ("unsloth/tiny-bnb-4bit", "a quantised copy"),
        ("org/tiny-GPTQ-Int4", "a quantised copy"),
        ("mine-sha256-aaaaaaaaaaaa", "a folder of the machine where it was trained"),
        ({"a": 1}, "expected a name"),
        ("~nobody-here/model", "a folder that is not on this machine"),
    ],
)
def test_a_name_that_leads_nowhere_asks_for_the_base(named, words):
    with pytest.raises(AdapterError, match=rf"{words}.*--base NAME"):
        find_base(named, None, None)


def test_a_quantised_folder_asks_for_the_base(copies):
    with pytest.raises(AdapterError, match=r"a quantised copy.*--base NAME"):
        find_base(str(copies / "quantised"), None, None)
    _, notes = find_base(str(copies / "quantised"), None, "tiny-random")
    assert "a quantised copy; --base states" in notes[0]
    with pytest.raises(AdapterError, match="in full precision"):
        find_base("tiny-random", None, str(copies / "quantised"))


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("/home/them/model", "a folder that is not on this machine"),
        ("org/not-here", "which is not on this machine to compare"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "'smollm2-135m-instruct' is a copy rounded to 4"),
        ("no id at all!", "which is not on this machine to compare"),
        ("~nobody-here/model", "a folder that is not on this machine"),
        ("x" * 300, "which is not on this machine to compare"),
    ],
)
def test_a_stated_base_that_could_not_be_compared_is_said(named, words):
    base, (note,) = find_base(named, None, "tiny-random")
    assert base.ref == "tiny-random" and words in note and named[:120] in note


def test_a_base_that_cannot_be_had_can_be_stated():
    with pytest.raises(ModelError, match=r"--base NAME.*'smollm2-135m-instruct' is a copy of it"):
        find_base("HuggingFaceTB/SmolLM2-135M-Instruct", None, None)


@pytest.mark.parametrize("named", ["org/not-here", "HuggingFaceTB/SmolLM2-135M-Instruct"])
def test_a_hub_that_cannot_be_reached_is_asked_once(named, monkeypatch):
    asked = []

    def unreachable(url, timeout):
        asked.append(url)
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", unreachable)
    with pytest.raises(ModelError, match=r"cannot be reached: Name or service.*--base NAME"):
        find_base(named, None, None)
    with pytest.raises(ModelError, match="cannot be reached"):
        find_base("/home/them/model", None, named)
    assert asked == [f"https://huggingface.co/{named}/resolve/main/config.json"] * 2


def test_a_base_that_does_not_exist_is_refused():
    with pytest.raises(ModelError, match="no such folder"):
        find_base("tiny-random", None, "/nowhere")


def test_the_bank_adapts_the_linears_of_the_decoder():
    shapes = shapes_of(load_base("tiny-random"))
    assert len(shapes.linears) == 2 * 7 and "lm_head" not in shapes.linears
    assert shapes.linears["model.layers.1.mlp.down_proj"] == (64, 128)
    head = shapes.weight("lm_head.weight")
    assert isinstance(head, torch.Tensor) and head.shape[1] == shapes.hidden
    assert shapes.weight("nothing.weight") is None
