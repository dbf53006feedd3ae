"""Which modules a PEFT config adapts: PEFT leaves out tensors of any other module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: The first numbered part of a module's name.
_LAYER = r".*?\.[^.]*\.(?P<index>\d+)\."


def is_targeted(config: Mapping[str, Any], module: str) -> bool:
    """Whether PEFT puts an adapter on a linear layer, by `target_modules` and what limits it.

    True without `target_modules`, whose default depends on the model's family. The rules are those
    of `peft.tuners.tuners_utils.check_target_module_exists` (0.21).
    """
    targets = config.get("target_modules")
    if _named(config.get("exclude_modules"), module):
        return False
    if targets is None or targets == "all-linear":
        return True
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    layers = config.get("layers_to_transform")
    if module in targets or layers in (None, []):
        return _named(targets, module)
    return _named(targets, module) and _layer(config, module) in (
        [layers] if isinstance(layers, int) else layers
    )


def layer_rule(pattern: str) -> str:
    """The expression of a `layers_pattern`, with the layer's number as the group `index`."""
    return rf"(?:^|.*?\.){pattern}\.(?P<index>\d+)\."


def _named(names: Any, module: str) -> bool:
    if not names:
        return False
    if isinstance(names, str):
        return re.fullmatch(names, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in names)


def _layer(config: Mapping[str, Any], module: str) -> int | None:
    patterns = config.get("layers_pattern")
    names = [patterns] if isinstance(patterns, str) else patterns or []
    rules = [layer_rule(name) for name in names if name] or [_LAYER]
    matched = next((found for rule in rules if (found := re.match(rule, module))), None)
    return int(matched["index"]) if matched else None
