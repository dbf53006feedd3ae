"""Adapters whose tensors alone are not what they compute, and damaged ones, are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from align.adapters.folder import adapter_id, read_config
from align.adapters.tensors import LoraFactors, read_factors, scaling, write_factors
from align.errors import AdapterError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "biases do not compose"),
    ],
)
def test_what_does_not_compose_is_refused(make_adapter, change, words):
    with pytest.raises(AdapterError, match=words):
        read_factors(make_adapter("bad", 1, **change))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alora_invocation_tokens", [1]),
        ("use_qalora", True),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "olora"),
        ("kasa_config", {"beta": 1}),
        ("layer_replication", [[0, 1], [0, 1]]),
    ],
)
def test_what_needs_more_than_its_tensors_is_refused(make_adapter, field, value):
    folder = make_adapter("bad", 1)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(AdapterError, match=field):
        read_factors(folder)


def test_damaged_folders_are_refused(make_adapter, tmp_path):
    folder = make_adapter("bad", 1)
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] * float("nan")}, folder / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match="NaN"):
        read_factors(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"short")
    with pytest.raises(AdapterError, match="damaged"):
        read_factors(folder)
    with pytest.raises(AdapterError, match="expected a PEFT adapter folder"):
        read_factors(Path(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("options", "module", "expected"),
    [
        ({}, "layers.0.q_proj", 2.0),
        ({"use_rslora": True}, "layers.0.q_proj", 4.0),
        ({"rank_pattern": {"q_proj": 16}}, "layers.0.q_proj", 0.5),
        ({"rank_pattern": {"q_proj": 16}}, "layers.0.k_proj", 2.0),
        ({"rank_pattern": {"proj": 16}}, "layers.0.q_proj", 2.0),  # a name is matched as a whole
        ({"alpha_pattern": {"0.q_proj": 1, "q_proj": 4}}, "layers.0.q_proj", 0.25),
        ({"alpha_pattern": {"0.q_proj": 1, "q_proj": 4}}, "layers.1.q_proj", 1.0),
    ],
)
def test_the_factor_of_a_module_by_hand(options, module, expected):
    assert scaling({"r": 4, "lora_alpha": 8, **options}, module) == expected


def test_stacked_factors_compute_the_sum_of_both():
    below = LoraFactors({"q": (torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]))})
    score = torch.tensor([[5.0, 6.0]])
    own = (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    above = LoraFactors({"q": own, "v": own}, score)
    both = above.stacked_on(below)
    a, b = both.modules["q"]
    assert (b @ a).tolist() == [[4.0, 6.0], [4.0, 10.0]]  # [[3, 6], [4, 8]] + [[1, 0], [0, 2]]
    assert (below.rank, above.rank, both.rank, LoraFactors().rank) == (1, 2, 3, 0)
    assert all(map(torch.equal, both.modules["v"], own)) and both.score is score
    assert above.stacked_on(None) is above


def test_what_is_written_is_read_back(tmp_path):
    wide = (torch.arange(6.0).view(2, 3), torch.arange(8.0).view(4, 2))
    narrow = (torch.ones(1, 3), torch.ones(4, 1))
    written = LoraFactors({"layers.0.q": wide, "layers.1.q": narrow})
    write_factors(tmp_path / "adapter", written, "tiny")
    read = read_factors(tmp_path / "adapter")
    assert read.score is None and read.modules.keys() == written.modules.keys()
    for name, factors in written.modules.items():
        assert all(map(torch.equal, read.modules[name], factors))


def test_the_base_and_its_commit_are_named_and_no_part_of_the_id(tmp_path):
    factors = LoraFactors({"layers.0.q": (torch.ones(2, 3), torch.ones(4, 2))})
    write_factors(tmp_path / "here", factors, "tiny")
    write_factors(tmp_path / "there", factors, "org/model", "c0ffee")
    config = read_config(tmp_path / "there")
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/model", "c0ffee")
    assert read_config(tmp_path / "here")["revision"] is None
    assert adapter_id(tmp_path / "here") == adapter_id(tmp_path / "there")


def test_factors_move_to_a_device_together_with_the_head():
    factors = LoraFactors({"q": (torch.ones(2, 4), torch.ones(4, 2))}, torch.ones(1, 4))
    moved = factors.to(torch.device("meta"))
    tensors = [*moved.modules["q"], moved.score]
    assert [tensor.device.type for tensor in tensors] == ["meta"] * 3
    stayed = factors.to(torch.device("cpu"))
    assert stayed.modules["q"][0] is factors.modules["q"][0] and stayed.score is factors.score
    assert LoraFactors().to(torch.device("meta")).score is None
