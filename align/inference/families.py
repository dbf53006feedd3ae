"""Which models an engine can serve: those whose logits it reproduces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from align.base import Base
from align.errors import ModelError

#: model_type of the families whose layers are replaced by fused layers.
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
#: Largest difference between engine and model, as a share of the logits' norm. Sums are computed
#: in a different order, and in 16 bits a mixture of experts may choose a different expert.
_NEAR = {torch.float32: 1e-3}
_NEAR_IN_16_BITS = 0.15


def is_fused(config: Any) -> bool:
    """Whether the model gets fused layers. Other models keep theirs, except for the linears."""
    return config.model_type in FUSED and config.hidden_act == "silu"


def check_layout(base: Base) -> None:
    """ModelError unless the model is a decoder of attention layers with a KV cache each."""
    config = base.model.config
    missing = [name for name in _NEEDED if getattr(config, name, None) is None]
    if missing:
        raise _refusal(base, f"its config has no {', '.join(missing)}")
    layers = getattr(base.model.base_model, "layers", ())
    attentions = [getattr(layer, "self_attn", None) for layer in layers]
    if not attentions or not all(isinstance(attention, nn.Module) for attention in attentions):
        raise _refusal(base, "not all of its layers are attention layers as Llama's are")
    capped = [name for name in _SOFT_CAPS if getattr(config, name, None)]
    if capped:
        raise _refusal(base, f"it has {' and '.join(capped)}")


def logit_factor(config: Any) -> float:
    """The factor by which the model scales its logits (Granite, Cohere); 1 in other models."""
    scale = getattr(config, "logit_scale", None) or 1.0
    return float(scale) / float(getattr(config, "logits_scaling", None) or 1.0)


def check_logits(base: Base, logits: Callable[[list[int]], torch.Tensor]) -> None:
    """ModelError if `logits` (tokens → (tokens, vocabulary)) differ from those of the model.

    This detects what the configuration does not show: attention with inputs that are not passed to
    the attention function, state besides the KV cache, and outputs that are changed after the head.
    """
    size = int(base.model.config.vocab_size)
    tokens = [(7 + 31 * i) % size for i in range(_PROBE)]
    weight = next(base.model.parameters())
    with torch.inference_mode():
        ids = torch.tensor([tokens], device=weight.device)
        expected = base.model(input_ids=ids, use_cache=False).logits[0].float()
        try:
            actual = logits(tokens).float()
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise _refusal(base, f"its layers do not take this engine's cache ({error})") from error
        distance = float((actual - expected).norm() / expected.norm())
    if not distance < _NEAR.get(weight.dtype, _NEAR_IN_16_BITS):
        raise _refusal(base, f"this engine's logits would be {distance:.1%} away from its own")


def _refusal(base: Base, reason: str) -> ModelError:
    return ModelError(
        f"base '{base.ref}' is a {base.model.config.model_type} model, which cannot be served: "
        f"{reason}. Served are Llama, Mistral, Qwen2, Qwen3 and what is built alike, such as "
        "Gemma, OLMo 2, Phi-3 and Granite"
    )
