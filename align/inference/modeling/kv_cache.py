"""Keys and values of all live sequences, in slots that are allocated at the start."""

from __future__ import annotations

from typing import Any

import torch

from align.errors import RequestError
from align.inference.kernels import LayerCache

_SHORTEST = 16  # tokens; less than any chat template adds


def bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Bytes of keys and values per token, in all layers."""
    kv_heads, head = _shape(config)
    return 2 * int(config.num_hidden_layers) * kv_heads * head * dtype.itemsize


def fit(config: Any, dtype: torch.dtype, slots: int, tokens: int | None, budget: int) -> int:
    """Tokens in each of `slots`: `tokens`, or as many as `budget` bytes and the model allow.

    RequestError if the budget holds fewer than `tokens`, or too few for any chat.
    """
    context, token_bytes = context_of(config), bytes_per_token(config, dtype)
    room = budget // (slots * token_bytes)
    length = min(context, room) if tokens is None else tokens
    if tokens is not None and not 0 < tokens <= context:
        raise RequestError(f"slot_tokens={tokens}: this model takes 1 to {context}")
    if length > room or length < min(_SHORTEST, context):
        need = slots * token_bytes * max(length, _SHORTEST)
        raise RequestError(
            f"a KV budget of {_gib(budget)} holds {room} tokens in each of {slots} slots "
            f"({token_bytes} bytes a token), {max(length, _SHORTEST)} are needed: "
            f"give it {_gib(need)} or fewer slots"
        )
    return length


class KVCache:
    """A tensor (layers, 2, slots, kv heads, tokens, head). The content of a slot never moves."""

    def __init__(
        self, config: Any, slots: int, tokens: int, dtype: torch.dtype, device: torch.device
    ):
        kv_heads, head = _shape(config)
        layers = int(config.num_hidden_layers)
        # Uninitialised: on a CPU, memory pages that no request reaches are never touched.
        shape = (layers, 2, slots, kv_heads, tokens, head)
        self._all = torch.empty(shape, dtype=dtype, device=device)
        self.tokens = tokens
        self.layers = [LayerCache(self._all[i, 0], self._all[i, 1]) for i in range(layers)]

    def lengthen(self, tokens: int) -> None:
        """Give every slot `tokens` tokens, more than before, and copy what the slots hold."""
        longer = self._all.new_empty(*self._all.shape[:4], tokens, self._all.shape[5])
        longer[..., : self.tokens, :] = self._all
        self._all, self.tokens = longer, tokens
        for index, layer in enumerate(self.layers):
            layer.keys, layer.values = self._all[index, 0], self._all[index, 1]

    def copy(self, source: int, target: int, count: int) -> None:
        """Copy the first `count` tokens of a slot to another."""
        self._all[:, :, target, :, :count] = self._all[:, :, source, :, :count]


def ropes(config: Any) -> list[dict[str, Any]]:
    """The parameters of each rotation of a model: of all its layers, or of each type of layer."""
    rotation = getattr(config, "rope_parameters", None) or {}
    return [rotation] if "rope_type" in rotation else list(rotation.values())


def context_of(config: Any) -> int:
    """Number of positions that a token can have.

    LongRoPE (arXiv 2402.13753) is limited to its original length: beyond it, a long sequence
    changes the rotation of the short sequences in its batch.
    """
    original_lengths = [
        int(rope["original_max_position_embeddings"])
        for rope in ropes(config)
        if rope["rope_type"] == "longrope"
    ]
    return min([int(config.max_position_embeddings), *original_lengths])


def head_widths(config: Any) -> tuple[int, int]:
    """Widths of all query heads, and of all key heads, together."""
    kv_heads, head = _shape(config)
    return int(config.num_attention_heads) * head, kv_heads * head


def _shape(config: Any) -> tuple[int, int]:
    heads = int(config.num_attention_heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    return kv_heads, int(getattr(config, "head_dim", None) or config.hidden_size // heads)


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
