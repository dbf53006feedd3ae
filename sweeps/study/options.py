"""A recipe's options for one of Optuna's classes, held against the class's own signature."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

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

    `field` is where they stand in a recipe, `name` what the recipe calls the class, and `decided`
    has the arguments that a recipe does not set, each with the reason.
    """
    taken = signature(kind)
    plain = [one for one in taken if one not in decided and _words(taken[one])]
    for option, value in options.items():
        if option in decided and option in taken:
            raise SweepError(f"{field}.{option}: {decided[option]}")
        if option not in taken:
            allowed = ", ".join(plain) or "none"
            raise SweepError(
                f"{field}.{option}: {name} has no such option{near(option, plain)}; "
                f"allowed: {allowed}"
            )
        words = _words(taken[option])
        if not words:
            raise SweepError(
                f"{field}.{option}: a recipe cannot hold what {name} takes there, "
                f"{taken[option]}; allowed: {', '.join(plain)}"
            )
        if not _fits(taken[option], value):
            raise SweepError(f"{field}.{option}: expected {words}; got {value!r}")


def build(field: str, kind: Callable[..., Any], **arguments: Any) -> Any:
    """`kind(**arguments)`; what it finds wrong is a SweepError of one line."""
    try:
        with warnings.catch_warnings():  # of what is experimental, at every trial
            warnings.simplefilter("ignore")
            return kind(**arguments)
    except (ValueError, TypeError) as error:
        raise SweepError(f"{field}: {' '.join(str(error).split())}") from None


def check_packages(field: str, name: str, packages: Iterable[str]) -> None:
    """SweepError names the packages that are not installed."""
    missing = [one for one in packages if importlib.util.find_spec(one) is None]
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
        one.name: one.annotation
        if isinstance(one.annotation, str)
        else inspect.formatannotation(one.annotation)
        for one in parameters
    }


def near(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` where some known name is close, else nothing."""
    found = difflib.get_close_matches(name, list(known), n=2)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def nested(annotation: str) -> str:
    """Which of Optuna's classes an argument wants an object of: `BaseSampler`, or nothing."""
    kinds = ("BaseSampler", "BasePruner", "BaseCrossover", "BaseMutation")
    return next((one for one in kinds if one in annotation and "Callable" not in annotation), "")


def _parts(annotation: str) -> list[str]:
    return [one.strip().partition("[")[0] for one in annotation.split(" | ")]


def _words(annotation: str) -> str:
    """What a recipe may write there; nothing where only Python could make the value."""
    if found := nested(annotation):
        return f"the name of a {found.removeprefix('Base').lower()}"
    if "Callable" in annotation:
        return ""
    known = [one for one in _parts(annotation) if one in _PLAIN and one != "None"]
    return " or ".join("mapping" if one in ("dict", "Mapping") else one for one in known)


def _fits(annotation: str, value: Any) -> bool:
    if nested(annotation):
        return isinstance(value, str | dict)
    allowed = [kind for one in _parts(annotation) for kind in _PLAIN.get(one, ())]
    if isinstance(value, bool):
        return bool in allowed
    return isinstance(value, tuple(allowed))
