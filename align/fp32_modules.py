"""Names of linear layers that a base in fp16 holds in fp32. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Collection

#: A run of whole parts of a module's name.
NAME_PARTS = re.compile(r"\w+(\.\w+)*")
#: Linear layers that stay in the base's dtype: keys and values are cached in it.
NEVER_HELD = frozenset({"q_proj", "k_proj", "v_proj", "qkv_proj"})


def names(pattern: str, linear: str) -> bool:
    """Whether `pattern` names a linear layer by its full name.

    A pattern is a run of whole parts of a name: `down_proj`, `mlp`, `layers.3.mlp`.
    """
    return re.search(rf"(^|\.){re.escape(pattern)}(\.|$)", linear) is not None


def may_be_held(linear: str) -> bool:
    """Whether the linear layer is part of a decoder layer, and not one of NEVER_HELD."""
    in_layer = re.search(r"(^|\.)layers\.\d+\.", linear) is not None
    return in_layer and linear.rpartition(".")[2] not in NEVER_HELD


def held(patterns: Collection[str], linear: str) -> bool:
    """Whether a pattern names the linear layer, and it may be held."""
    return may_be_held(linear) and any(names(pattern, linear) for pattern in patterns)


def remedy(module: str) -> str | None:
    """The pattern to hold in fp32 if the outputs of `module` are the first that overflow fp16.

    The outputs of a layer in fp32 keep the residual stream in fp32 from there on. None if no layer
    that may be held would help.
    """
    match = re.search(r"(layers\.\d+)(?:\.(.+))?$", module)
    if match is None:
        return None
    layer, inner = match[1], match[2] or "mlp"
    if inner.rpartition(".")[2] in NEVER_HELD or inner.startswith("input_"):
        return None
    if "attn" in inner or "attention" in inner:
        return f"{layer}.self_attn.o_proj"
    block = inner.partition(".")[0]
    return f"{layer}.{'mlp' if 'norm' in block else block}"
