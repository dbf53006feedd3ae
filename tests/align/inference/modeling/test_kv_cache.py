"""How many tokens the memory for keys and values holds, and what a copy of a slot takes along."""

import pytest
import torch
from transformers import LlamaConfig, Phi3Config

from align.errors import RequestError
from align.inference.modeling.kv_cache import KVCache, bytes_per_token, fit

SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA = LlamaConfig(**SHAPE)
FP32 = torch.float32


def test_bytes_of_a_token_are_keys_and_values_of_every_layer():
    assert bytes_per_token(LLAMA, FP32) == 2 * 2 * 2 * 16 * 4
    assert bytes_per_token(LLAMA, torch.bfloat16) == 2 * 2 * 2 * 16 * 2
    alone = LlamaConfig(**{**SHAPE, "num_key_value_heads": None, "head_dim": 32})
    assert bytes_per_token(alone, FP32) == 2 * 2 * 4 * 32 * 4


def test_slots_are_as_long_as_the_budget_and_the_model_allow():
    assert fit(LLAMA, FP32, 4, None, 4 * 64 * 512) == 64
    assert fit(LLAMA, FP32, 4, None, 4 * 64 * 512 - 1) == 63
    assert fit(LLAMA, FP32, 4, None, 2**30) == 256
    assert fit(LLAMA, FP32, 4, 100, 2**30) == 100


@pytest.mark.parametrize(
    ("tokens", "budget", "words"),
    [
        (0, 2**30, "takes 1 to 256"),
        (257, 2**30, "takes 1 to 256"),
        (64, 4 * 64 * 512 - 1, "holds 63 tokens in each of 4 slots .* 64 are needed"),
        (None, 4 * 15 * 512, "holds 15 tokens .* 16 are needed"),
    ],
)
def test_a_length_that_does_not_fit_is_refused(tokens, budget, words):
    with pytest.raises(RequestError, match=words):
        fit(LLAMA, FP32, 4, tokens, budget)


def test_rotation_that_changes_with_length_ends_at_the_original_length():
    rotation = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 8,
        "long_factor": [2.0] * 8,
    }
    lengths = {"original_max_position_embeddings": 48, **SHAPE}
    config = Phi3Config(**lengths, rope_parameters=rotation, pad_token_id=0)
    assert fit(config, FP32, 4, None, 2**30) == 48


def test_a_copy_takes_the_first_tokens_of_all_layers_and_nothing_else():
    cache = KVCache(LLAMA, 3, 8, FP32, torch.device("cpu"))
    for layer, held in enumerate(cache.layers):
        for slot in range(3):
            held.keys[slot], held.values[slot] = 10 * layer + slot, 100 + 10 * layer + slot
    cache.copy(1, 2, 5)
    for layer, held in enumerate(cache.layers):
        assert (held.keys[2, :, :5] == 10 * layer + 1).all()
        assert (held.values[2, :, :5] == 100 + 10 * layer + 1).all()
        assert (held.keys[2, :, 5:] == 10 * layer + 2).all()
        assert (held.keys[1] == 10 * layer + 1).all() and (held.keys[0] == 10 * layer).all()
