"""Which models an engine can serve: those whose answers it can be shown to give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from align.base import Base
from align.errors import ModelError

#: model_type of the families that are fused.
FUSED = frozenset({"llama", "mistral", "qwen2", "qwen3"})

_NEEDED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
_SOFT_CAPS = ("attn_logit_softcapping", "final_logit_softcapping")
_PROBE = 12  # tokens
#: Largest difference between engine and model, as a share of the logits' norm: sums are taken in
#: another order, and in 16 bits a mixture of experts may choose another one.
_NEAR = {torch.float32: 1e-3}
_NEAR_IN_16_BITS = 0.15


def is_fused(config: Any) -> bool:
    """Whether its layers are replaced by fused ones; others keep theirs, linears aside."""
    return config.model_type in FUSED and config.hidden_act == "silu"


def check_layout(base: Base) -> None:
    """ModelError if the model is not a decoder of attention layers that write one cache each."""
    config = base.model.config
    missing = [name for name in _NEEDED if getattr(config, name, None) is None]
    if missing:
        raise _refusal(base, f"its config has no {', '.join(missing)}")
    layers = getattr(base.model.base_model, "layers", ())
    attentions = [getattr(layer, "self_attn", None) for layer in layers]
    if not attentions or not all(isinstance(one, nn.Module) for one in attentions):
        raise _refusal(base, "not all of its layers are attention layers as Llama's are")
    capped = [name for name in _SOFT_CAPS if getattr(config, name, None)]
    if capped:
        raise _refusal(base, f"it has {' and '.join(capped)}")


def logit_factor(config: Any) -> float:
    """What the output head's product is multiplied by: Granite's and Cohere's are scaled."""
    scale = getattr(config, "logit_scale", None) or 1.0
    return float(scale) / float(getattr(config, "logits_scaling", None) or 1.0)


def check_logits(base: Base, logits: Callable[[list[int]], torch.Tensor]) -> None:
    """ModelError if `logits` (tokens → (tokens, vocabulary)) are not the model's own.

    Attention with something to it that an attention function is not told of, states beside it,
    outputs that are changed after the head: all of them show here and nowhere else.
    """
    size = int(base.model.config.vocab_size)
    tokens = [(7 + 31 * at) % size for at in range(_PROBE)]
    weight = next(base.model.parameters())
    with torch.inference_mode():
        ids = torch.tensor([tokens], device=weight.device)
        theirs = base.model(input_ids=ids, use_cache=False).logits[0].float()
        try:
            ours = logits(tokens).float()
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise _refusal(base, f"its layers do not take this engine's cache ({error})") from error
        distance = float((ours - theirs).norm() / theirs.norm())
    if not distance < _NEAR.get(weight.dtype, _NEAR_IN_16_BITS):
        raise _refusal(base, f"this engine's logits would be {distance:.1%} away from its own")


def _refusal(base: Base, reason: str) -> ModelError:
    return ModelError(
        f"base '{base.ref}' is a {base.model.config.model_type} model, which cannot be served: "
        f"{reason}. Served are Llama, Mistral, Qwen2, Qwen3 and what is built alike, such as "
        "Gemma, OLMo 2, Phi-3 and Granite"
    )
