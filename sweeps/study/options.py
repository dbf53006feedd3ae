"""Checks a recipe's options for an Optuna class against the signature of that class."""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from align.suggestions import did_you_mean
from sweeps.errors import SweepError

_PLAIN: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "None": (type(None),),
    "dict": (dict,),
    "Mapping": (dict,),
}


def check_options(
    field: str, name: str, kind: type, options: Mapping[str, Any], decided: Mapping[str, str]
) -> None:
    """Raise SweepError unless `kind` takes these options.

    `field` is the path of the options in a recipe, `name` the recipe's name of the class, and
    `decided` has the arguments that a recipe cannot set, each with the reason.
    """
    annotations = signature(kind)
    settable = [
        option for option in annotations if option not in decided and _words(annotations[option])
    ]
    for option, value in options.items():
        if option in decided and option in annotations:
            raise SweepError(f"{field}.{option}: {decided[option]}")
        if option not in annotations:
            allowed = ", ".join(settable) or "none"
            raise SweepError(
                f"{field}.{option}: {name} has no such option{near(option, settable)}; "
                f"allowed: {allowed}"
            )
        words = _words(annotations[option])
        if not words:
            raise SweepError(
                f"{field}.{option}: a recipe cannot hold what {name} takes there, "
                f"{annotations[option]}; allowed: {', '.join(settable)}"
            )
        if not _fits(annotations[option], value):
            raise SweepError(f"{field}.{option}: expected {words}; got {value!r}")


def build(field: str, kind: Callable[..., Any], **arguments: Any) -> Any:
    """`kind(**arguments)`; a ValueError or TypeError becomes a SweepError of one line."""
    try:
        with warnings.catch_warnings():  # Optuna would warn of experimental features at every trial
            warnings.simplefilter("ignore")
            return kind(**arguments)
    except (ValueError, TypeError) as error:
        raise SweepError(f"{field}: {' '.join(str(error).split())}") from None


def check_packages(field: str, name: str, packages: Iterable[str]) -> None:
    """SweepError names the packages that are not installed."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise SweepError(
            f"{field}: {name} needs {' and '.join(missing)}: "
            f"pip install {' '.join(missing)}, or take another"
        )


def signature(kind: type) -> dict[str, str]:
    """The arguments of a class with their annotations as text."""
    if kind.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]  # type: ignore[misc]
    return {
        parameter.name: parameter.annotation
        if isinstance(parameter.annotation, str)
        else inspect.formatannotation(parameter.annotation)
        for parameter in parameters
    }


def near(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` with the known names that are close; empty if there are none."""
    return did_you_mean(name, known, 2, before="; ")


def nested(annotation: str) -> str:
    """The Optuna base class whose object an argument takes, such as `BaseSampler`; else empty."""
    kinds = ("BaseSampler", "BasePruner", "BaseCrossover", "BaseMutation")
    return next((kind for kind in kinds if kind in annotation and "Callable" not in annotation), "")


def _parts(annotation: str) -> list[str]:
    return [part.strip().partition("[")[0] for part in annotation.split(" | ")]


def _words(annotation: str) -> str:
    """What a recipe may write for an argument, for messages; empty if only Python can make it."""
    if base_class := nested(annotation):
        return f"the name of a {base_class.removeprefix('Base').lower()}"
    if "Callable" in annotation:
        return ""
    known = [part for part in _parts(annotation) if part in _PLAIN and part != "None"]
    return " or ".join("mapping" if part in ("dict", "Mapping") else part for part in known)


def _fits(annotation: str, value: Any) -> bool:
    if nested(annotation):
        return isinstance(value, str | dict)
    allowed = [kind for part in _parts(annotation) for kind in _PLAIN.get(part, ())]
    if isinstance(value, bool):
        return bool in allowed
    return isinstance(value, tuple(allowed))
