"""Attention, MLP and norm of Llama-like models, with the bank's linears and KV slots."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from align.inference.kernels import Attention, Heads, LayerCache
from align.inference.modeling.bank import Bank
from align.inference.modeling.prompt_attention import read

Positions = tuple[torch.Tensor, torch.Tensor]


class FusedAttention(nn.Module):
    """Llama-like self-attention with the bank's linears and the KV slots of a layer."""

    def __init__(self, own: Any, name: str, window: int | None, bank: Bank, cache: LayerCache):
        super().__init__()
        inputs = {f"{name}.{part}": getattr(own, part) for part in ("q_proj", "k_proj", "v_proj")}
        self.qkv_proj = bank.linear(inputs)
        self.o_proj = bank.linear({f"{name}.o_proj": own.o_proj})
        head, normed = own.head_dim, isinstance(getattr(own, "q_norm", None), nn.Module)
        self._heads = Heads(
            heads=own.q_proj.out_features // head,
            kv_heads=own.k_proj.out_features // head,
            head=head,
            scale=own.scaling,
            window=window,
            query_norm=own.q_norm.weight.detach() if normed else None,
            key_norm=own.k_norm.weight.detach() if normed else None,
            eps=own.q_norm.variance_epsilon if normed else 0.0,
        )
        self._bank, self._cache = bank, cache
        self._attention: Attention = bank.ops.attention(self._heads, cache)

    def forward(
        self, hidden_states: torch.Tensor, position_embeddings: Positions, **_: Any
    ) -> tuple[torch.Tensor, None]:
        """hidden_states (1, N, hidden) → the same shape. The signature is that of transformers."""
        batch = self._bank.batch
        assert batch is not None
        cosine, sine = position_embeddings
        qkv = self.qkv_proj(hidden_states)[0]
        qkv = self._attention.rotate_and_store(qkv, cosine[0], sine[0], batch)
        if batch.spans:
            shape = self._heads
            queries = qkv.view(qkv.shape[0], -1, shape.head)[:, : shape.heads]
            out = read(self._cache, queries, batch, shape.scale, shape.window)
        else:
            out = self._attention.attend(qkv, batch)
        return self.o_proj(out[None]), None


class FusedMLP(nn.Module):
    """Gated MLP: the down projection of silu(gate) * up."""

    def __init__(self, own: Any, name: str, bank: Bank):
        super().__init__()
        inputs = {f"{name}.{part}": getattr(own, part) for part in ("gate_proj", "up_proj")}
        self.gate_up_proj = bank.linear(inputs)
        self.down_proj = bank.linear({f"{name}.down_proj": own.down_proj})
        self._ops = bank.ops

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (1, N, hidden) → the same shape."""
        down: torch.Tensor = self.down_proj(self._ops.silu_mul(self.gate_up_proj(x)))
        return down


class FusedNorm(nn.Module):
    """An RMS norm computed by the engine's `Ops`."""

    def __init__(self, own: Any, bank: Bank):
        super().__init__()
        self.weight, self._eps, self._ops = own.weight, own.variance_epsilon, bank.ops

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (…, hidden) → the same shape."""
        return self._ops.rms_norm(x, self.weight, self._eps)
