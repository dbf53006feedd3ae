"""A base as it is loaded: its weights in memory, its copies, and what cannot be a base."""

import copy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from align.base import load_base, model_source
from align.errors import ModelError
from align.methods.trainers.sequence_classifier import with_head
from align.precision import choose, device, precision


@pytest.mark.skipif(
    sys.platform != "linux" or device().type != "cpu", reason="reads /proc; weights in memory"
)
def test_weights_in_the_serving_dtype_are_pages_of_their_file(home, tiny, tmp_path):
    """So all workers of a machine share them."""
    folder = tmp_path / "base"
    shell = load_base("tiny-random").shell().to(precision().dtype)
    shell.save_pretrained(folder)
    load_base("tiny-random").tokenizer.save_pretrained(folder)
    mapped = []
    weights = load_base.__wrapped__(str(folder)).model.get_input_embeddings().weight
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(".safetensors") and str(folder) in line:
            mapped.append([int(one, 16) for one in line.split()[0].split("-")])
    assert any(low <= weights.data_ptr() < high for low, high in mapped)


@pytest.mark.parametrize("name", ["q?1", "per%20cent", "a#b:c@d", "back\\slash", "日本 é"])
def test_a_base_is_loaded_from_a_folder_of_any_name(name, tiny, tmp_path):
    folder = shutil.copytree(model_source("tiny-random"), tmp_path / name)
    loaded = load_base.__wrapped__(str(folder))
    assert (loaded.digest, loaded.ref) == (tiny.digest, str(folder))


def test_a_base_attends_with_sdpa_and_is_no_hub_revision():
    base = load_base("tiny-random")
    assert base.model.config._attn_implementation == "sdpa"
    assert base.revision is None


def test_a_shell_shares_every_tensor_and_changes_of_it_are_its_own(tiny):
    shell = tiny.shell()
    for (name, mine), (other, its) in zip(
        tiny.model.named_parameters(), shell.named_parameters(), strict=True
    ):
        assert name == other and mine is its
    shell.answer = 7
    shell.model.layers = shell.model.layers[:1]
    assert not hasattr(tiny.model, "answer") and len(tiny.model.model.layers) == 2


def test_a_base_is_frozen_and_its_pad_token_is_there():
    base = load_base("tiny-random")
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert not base.model.training and base.tokenizer.pad_token_id is not None
    assert len(base.digest) == len(base.tokenizer_digest) == 64


@pytest.mark.parametrize(
    ("removed", "told"), [("chat_template", "has no chat template"), ("eos_token", "no eos token")]
)
def test_a_base_that_cannot_answer_is_refused(tmp_path, removed, told):
    base = load_base("tiny-random")
    base.shell().save_pretrained(tmp_path)
    tokenizer = copy.deepcopy(base.tokenizer)
    setattr(tokenizer, removed, None)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"base '{tmp_path}'.*{told}"):
        load_base.__wrapped__(str(tmp_path))


def test_the_digest_is_of_the_weights(tmp_path):
    base = load_base("tiny-random")
    for name, change in (("same", 0.0), ("other", 0.5)):
        model = copy.deepcopy(base.model)
        next(model.parameters()).data[0, 0] += change
        model.save_pretrained(tmp_path / name)
        base.tokenizer.save_pretrained(tmp_path / name)
    same, other = (load_base.__wrapped__(str(tmp_path / name)) for name in ("same", "other"))
    assert same.digest != other.digest
    assert same.tokenizer_digest == other.tokenizer_digest == base.tokenizer_digest


def test_a_base_that_is_no_model_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"cannot be loaded: .*Allowed: smollm2-135m") as caught:
        load_base.__wrapped__(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_only_weights_are_rounded_and_the_digest_is_of_the_file(monkeypatch, dtype):
    """A rotary frequency in half precision is off by radians at late positions."""
    expected = load_base("tiny-random")
    frequencies = LlamaRotaryEmbedding(expected.model.config).inv_freq
    rounded = replace(choose("cpu", None, False), dtype=dtype)
    monkeypatch.setattr("align.base.precision", lambda: rounded)
    base = load_base.__wrapped__("tiny-random")
    assert {parameter.dtype for parameter in base.model.parameters()} == {dtype}
    buffers = dict(base.model.named_buffers())
    assert {"model.rotary_emb.inv_freq", "model.rotary_emb.original_inv_freq"} == buffers.keys()
    for buffer in buffers.values():
        assert buffer.dtype == torch.float32 and torch.equal(buffer, frequencies)
    assert base.digest == expected.digest
    assert not any("rotary" in name for name in base.model.state_dict())
    shell = base.shell()
    assert shell.model.rotary_emb.inv_freq is base.model.model.rotary_emb.inv_freq
    head = with_head(shell, pad_token_id=0, seed=0)
    assert {b.dtype for b in head.buffers() if b.is_floating_point()} == {torch.float32}
