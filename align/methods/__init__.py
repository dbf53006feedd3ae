"""The training methods: a module for each, which holds all that is special about it.

A module of this package whose `METHOD` is a `Method` adds a training method: recipes, data, search,
evaluation, memory estimates, drafts and cards ask that object.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any, Literal

from align.methods.specification import Kind, Method, Objective

__all__ = [
    "METHODS",
    "Kind",
    "Method",
    "MethodName",
    "Objective",
    "is_reward_model",
    "names_of",
]


def _methods() -> dict[str, Method]:
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
        if not module.ispkg
    ]
    methods = [module.METHOD for module in modules if hasattr(module, "METHOD")]
    return {method.name: method for method in sorted(methods, key=lambda method: method.order)}


#: All training methods by name, in their order.
METHODS: dict[str, Method] = _methods()

if TYPE_CHECKING:
    MethodName = str
else:
    #: A name of METHODS; pydantic lists the names in its error.
    MethodName = Literal[tuple[Any, ...](METHODS)]


def names_of(attribute: str) -> list[str]:
    """Names of the methods of which a flag such as `online` is true."""
    return [name for name, method in METHODS.items() if getattr(method, attribute)]


def is_reward_model(method: str) -> bool:
    """Whether adapters of this method are reward models; False for a method that is unknown."""
    return method in METHODS and METHODS[method].trains_reward_model
