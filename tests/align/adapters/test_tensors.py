"""Adapters whose tensors alone are not what they compute, and damaged ones, are refused."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from align.adapters.tensors import read_factors
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
