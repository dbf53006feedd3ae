"""Which linear layers of a base in fp16 a name holds in fp32, and which help against overflow."""

import pytest

from align.fp32_modules import held, may_be_held, names, remedy

DOWN = "model.layers.13.mlp.down_proj"


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("down_proj", True),
        ("mlp", True),
        ("layers.13.mlp", True),
        ("layers.13", True),
        (DOWN, True),
        ("layers.1", False),
        ("3.mlp", False),
        ("proj", False),
        ("layers.13.self_attn", False),
        ("m.p", False),
    ],
)
def test_a_name_is_made_of_whole_parts(pattern, named):
    assert names(pattern, DOWN) is named
    assert held([pattern], DOWN) is named


def test_only_linears_of_decoder_layers_that_are_not_cached_may_be_held():
    assert may_be_held(DOWN) and may_be_held("layers.0.self_attn.o_proj")
    for name in ("lm_head", "model.layers.0.self_attn.k_proj", "model.embed_tokens"):
        assert not may_be_held(name) and not held([name], name)
    assert not held(["layers.0"], "model.layers.0.self_attn.q_proj")
    assert not held([], DOWN)


@pytest.mark.parametrize(
    ("module", "pattern"),
    [
        (DOWN, "layers.13.mlp"),
        ("model.layers.2.mlp", "layers.2.mlp"),
        ("model.layers.2.mlp.act_fn", "layers.2.mlp"),
        ("model.layers.2", "layers.2.mlp"),
        ("model.layers.2.feed_forward.w2", "layers.2.feed_forward"),
        ("model.layers.2.self_attn.o_proj", "layers.2.self_attn.o_proj"),
        ("model.layers.2.self_attn", "layers.2.self_attn.o_proj"),
        ("model.layers.2.post_attention_layernorm", "layers.2.self_attn.o_proj"),
        ("model.layers.2.post_feedforward_layernorm", "layers.2.mlp"),
        ("model.layers.2.self_attn.q_proj", None),
        ("model.layers.2.input_layernorm", None),
        ("model.embed_tokens", None),
        ("model.norm", None),
        ("lm_head", None),
    ],
)
def test_what_is_held_where_a_module_overflows(module, pattern):
    assert remedy(module) == pattern
