"""Layers of Llama-like models over the bank and the KV slots."""

import torch
from torch import nn

from align.inference.kernels.plain import PlainOps
from align.inference.modeling.attention import FusedMLP, FusedNorm
from align.inference.modeling.bank import Bank
from tests.align.inference.kernels.random_batches import random


class Gated(nn.Module):
    """The attributes of transformers' MLP."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gate_proj, self.up_proj = nn.Linear(8, 12, bias=False), nn.Linear(8, 12, bias=False)
        self.down_proj = nn.Linear(12, 8, bias=False)


@torch.no_grad()
def test_an_mlp_gates_and_projects():
    own, x = Gated(), random(torch.float32, 1, 3, 8)
    want = own.down_proj(nn.functional.silu(own.gate_proj(x)) * own.up_proj(x))
    assert torch.allclose(FusedMLP(own, "mlp", Bank(1, 4, PlainOps()))(x), want, atol=1e-6)


@torch.no_grad()
def test_a_norm_has_the_weight_and_epsilon_of_its_original():
    own = nn.Module()
    own.weight, own.variance_epsilon = nn.Parameter(random(torch.float32, 8)), 0.5
    x = random(torch.float32, 1, 3, 8, seed=1)
    want = own.weight * x / (x.square().mean(-1, keepdim=True) + 0.5).sqrt()
    assert torch.allclose(FusedNorm(own, Bank(1, 4, PlainOps()))(x), want, atol=1e-6)
