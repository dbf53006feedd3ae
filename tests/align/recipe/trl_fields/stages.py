"""A recipe of a single stage, TRL's class for it, and what is said of a wrong stage."""

from importlib import import_module
from typing import Any

from align.methods import METHODS, MethodName
from align.recipe import Recipe, StageConfig
from tests.align.recipe import stages


def recipe(method: MethodName, **fields: Any) -> Recipe:
    """A recipe with a stage of this method, with fields changed."""
    return stages.recipe(one=stages.stage(method, **fields))


def config(method: MethodName, **fields: Any) -> StageConfig:
    return recipe(method, **fields).stages["one"]


def refusal(method: MethodName, **fields: Any) -> str:
    return stages.refusal(one=stages.stage(method, **fields))


def config_class(method: MethodName) -> Any:
    """The class of TRL, which is imported only here."""
    module = METHODS[method].config_file.removesuffix(".py").replace("/", ".")
    return getattr(import_module(f"trl.{module}"), METHODS[method].config_class)
