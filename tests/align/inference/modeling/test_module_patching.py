"""What a base looks like to adapters once its layers are replaced, and to everybody else."""

import pytest
import torch

from align.adapters.tensors import LoraFactors
from align.errors import AdapterError
from align.inference.kernels.plain import PlainOps
from align.inference.modeling.bank import Bank
from align.inference.modeling.kv_cache import KVCache
from align.inference.modeling.module_patching import equip
from tests.align.inference.tiny_families import random_base

UNKNOWN = LoraFactors({"model.layers.0.self_attn.nothing": (torch.ones(1, 64), torch.ones(64, 1))})


def equipped(base) -> Bank:
    """The bank of a shell of `base` whose layers are replaced."""
    model, bank = base.shell(), Bank(2, 8, PlainOps())
    equip(model, bank, KVCache(model.config, 2, 16, torch.float32, torch.device("cpu")))
    return bank


@pytest.mark.parametrize(
    ("family", "modules"),
    [
        ("llama", "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"),
        ("olmo2", "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"),
        ("phi3", "down_proj, gate_up_proj, o_proj, qkv_proj"),
    ],
)
def test_adapters_find_the_linears_of_the_layers_under_their_own_names(family, modules):
    bank = equipped(random_base(family))
    with pytest.raises(AdapterError, match=f"this base's bank adapts {modules}$"):
        bank.prepare(UNKNOWN, "test")
    down = LoraFactors({"model.layers.1.mlp.down_proj": (torch.ones(1, 96), torch.ones(64, 1))})
    assert set(bank.prepare(down, "test")) == {"model.layers.1.mlp.down_proj"}


@pytest.mark.parametrize("family", ["llama", "olmo2"])
def test_the_base_itself_computes_what_it_did(family):
    base, tokens = random_base(family), torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = base.model(tokens).logits
        equipped(base)
        assert torch.allclose(base.model(tokens).logits, before, atol=1e-5)
