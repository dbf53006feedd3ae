"""The shape of a model: its parameters, what an adapter adds, where it is read from."""

import json
from pathlib import Path

import pytest

from align.base import load_base
from align.errors import ModelError
from align.memory.shape import read_shape, shape_of
from align.sources import SMOLLM2, TINY
from tests.align.memory.workloads import ATTENTION
from tests.align.shapes import QWEN


def test_weights_are_counted_as_the_published_models_have_them() -> None:
    assert shape_of(QWEN, "qwen").parameters == 494_032_768
    assert read_shape(SMOLLM2).parameters == 134_515_008


def test_the_built_in_shapes_are_those_of_the_files() -> None:
    config = load_base(TINY).model.config
    assert read_shape(TINY) == shape_of(config.to_dict(), TINY)
    assert read_shape(TINY).parameters == sum(p.numel() for p in load_base(TINY).model.parameters())


def test_an_adapter_is_counted_by_its_targets() -> None:
    shape = shape_of(QWEN, "qwen")
    attention = shape.targets(ATTENTION)
    assert shape.lora_parameters(8, attention) == 1_081_344  # what PEFT prints for the tutorial
    assert shape.targets("all-linear") == frozenset(shape.linears)
    assert shape.targets(r".*\.(gate|up)_proj") == {"gate_proj", "up_proj"}
    assert shape.targets(["proj"]) == frozenset()  # PEFT wants whole names


@pytest.mark.parametrize(
    "text, said",
    [("{", "cannot be read"), ("[]", "one JSON object"), ("{}", "for hidden_size"),
     (json.dumps({**QWEN, "vocab_size": None}), "whole number for vocab_size in it"),
     (json.dumps({**QWEN, "num_hidden_layers": -24}), "whole number for num_hidden_layers"),
     (json.dumps({**QWEN, "num_attention_heads": True}), "whole number for num_attention_heads"),
     (json.dumps({**QWEN, "head_dim": "x"}), "whole number for head_dim"),
     (json.dumps({**QWEN, "max_position_embeddings": 0}), "for max_position_embeddings"),
     (json.dumps({**QWEN, "num_key_value_heads": 3}), "cannot share 3 num_key_value_heads")],
)  # fmt: skip
def test_a_config_that_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=said) as error:
        read_shape("anything", path)
    assert str(path) in str(error.value)


def test_a_base_is_read_from_its_folder_or_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    assert read_shape(str(tmp_path)).attention_bias
    with pytest.raises(ModelError, match=r"cannot be reached.*--config"):
        read_shape("nobody/nothing")


def test_weights_that_are_held_in_fp32_are_counted_by_their_names() -> None:
    shape = shape_of(QWEN, "qwen")
    mlp, o_proj = 3 * 896 * 4864, 896 * 896
    assert shape.held_parameters(()) == 0
    assert shape.held_parameters(["layers.3.mlp"]) == mlp
    assert shape.held_parameters(["mlp", "layers.3.mlp"]) == 24 * mlp
    assert shape.held_parameters(["o_proj"]) == 24 * o_proj
    assert shape.held_parameters(["layers.1"]) == mlp + o_proj  # queries, keys, values never are
