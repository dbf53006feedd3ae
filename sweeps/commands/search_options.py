"""Puts the options of `SearchOptions` into the signature of a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

from sweeps.search_options import SearchOptions


def with_search_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of `SearchOptions` in place of `options`.

    Typer reads a command's options from its signature and cannot expand a dataclass itself.
    """
    names = [field.name for field in fields(SearchOptions)]

    @functools.wraps(command)
    def expanded(**arguments: Any) -> None:
        options = SearchOptions(**{name: arguments.pop(name) for name in names})
        command(options=options, **arguments)

    signature = inspect.signature(command, eval_str=True)
    hints = get_type_hints(SearchOptions, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name == "options":
            parameters += [
                parameter.replace(
                    name=field.name, default=field.default, annotation=hints[field.name]
                )
                for field in fields(SearchOptions)
            ]
        else:
            parameters.append(parameter)
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    expanded.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    return expanded
