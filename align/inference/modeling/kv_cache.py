"""Keys and values of everything that is being read or written, in slots made at the start."""

from __future__ import annotations

from typing import Any

import torch

from align.errors import RequestError
from align.inference.kernels import LayerCache

_SHORTEST = 16  # tokens: less than any chat template's own


def bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Of keys and values in all layers."""
    kv_heads, head = _shape(config)
    return 2 * int(config.num_hidden_layers) * kv_heads * head * dtype.itemsize


def fit(config: Any, dtype: torch.dtype, slots: int, tokens: int | None, budget: int) -> int:
    """Tokens in each of `slots`: as asked, or as many as `budget` bytes and the model allow.

    RequestError if the budget holds fewer than asked, or none worth having.
    """
    context, each = _context(config), bytes_per_token(config, dtype)
    room = budget // (slots * each)
    wanted = min(context, room) if tokens is None else tokens
    if tokens is not None and not 0 < tokens <= context:
        raise RequestError(f"slot_tokens={tokens}: this model takes 1 to {context}")
    if wanted > room or wanted < min(_SHORTEST, context):
        need = slots * each * max(wanted, _SHORTEST)
        raise RequestError(
            f"a KV budget of {_gib(budget)} holds {room} tokens in each of {slots} slots "
            f"({each} bytes a token), {max(wanted, _SHORTEST)} are needed: "
            f"give it {_gib(need)} or fewer slots"
        )
    return wanted


class KVCache:
    """(layers, 2, slots, kv heads, tokens, head); what is kept in a slot never moves."""

    def __init__(
        self, config: Any, slots: int, tokens: int, dtype: torch.dtype, device: torch.device
    ):
        kv_heads, head = _shape(config)
        layers = int(config.num_hidden_layers)
        # Left as it comes: on a CPU, pages that no request reaches are never touched.
        shape = (layers, 2, slots, kv_heads, tokens, head)
        self._all = torch.empty(shape, dtype=dtype, device=device)
        self.tokens = tokens
        self.layers = [LayerCache(self._all[at, 0], self._all[at, 1]) for at in range(layers)]

    def copy(self, source: int, target: int, count: int) -> None:
        """The first `count` tokens of a slot into another."""
        self._all[:, :, target, :, :count] = self._all[:, :, source, :, :count]


def _context(config: Any) -> int:
    """Positions that a token can have. Beyond the length that LongRoPE (arXiv 2402.13753) was made
    from, it turns short sequences otherwise as soon as one in the batch is longer."""
    rotation = getattr(config, "rope_parameters", None) or {}
    kinds = [rotation] if "rope_type" in rotation else list(rotation.values())
    short = [
        int(one["original_max_position_embeddings"])
        for one in kinds
        if one["rope_type"] == "longrope"
    ]
    return min([int(config.max_position_embeddings), *short])


def _shape(config: Any) -> tuple[int, int]:
    heads = int(config.num_attention_heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    return kv_heads, int(getattr(config, "head_dim", None) or config.hidden_size // heads)


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
