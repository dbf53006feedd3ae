"""TRL's fields that are passed through: which of them a stage may set, and their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from align.methods import METHODS, MethodName
from align.recipe.trl_fields.installed import TrlField, methods_with, trl_fields
from align.recipe.trl_fields.unsupported import decided
from align.space.field_types import searched
from align.space.spaces import is_space, listed
from align.suggestions import did_you_mean

#: Ranges that TRL's annotations do not state.
BOUNDS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "adam_beta1": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "adam_beta2": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "adam_epsilon": ("above 0", lambda x: x > 0),
    "top_p": ("above 0, at most 1", lambda x: 0 < x <= 1),
    "top_k": ("from 0 on", lambda x: x >= 0),
    "num_iterations": ("from 1 on", lambda x: x >= 1),
    "steps_per_generation": ("from 1 on", lambda x: x >= 1),
    "generation_batch_size": ("from 2 on", lambda x: x >= 2),
    "desirable_weight": ("from 0 on", lambda x: x >= 0),
    "undesirable_weight": ("from 0 on", lambda x: x >= 0),
    "label_smoothing": ("from 0 to below 0.5", lambda x: 0 <= x < 0.5),
    "label_smoothing_factor": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "dataset_num_proc": ("from 1 on", lambda x: x >= 1),
    "dataloader_num_workers": ("from 0 on", lambda x: x >= 0),
    "torch_empty_cache_steps": ("from 1 on", lambda x: x >= 1),
}


def unknown(method: MethodName, name: str, typed: Iterable[str]) -> str | None:
    """The end of a message about a field that the method's config lacks; None if it has the field.

    `typed` are the names of the stage's own fields.
    """
    fields, typed_names = trl_fields(method), list(typed)
    if name in fields:
        return None
    usable = [*typed_names, *(field for field in fields if not decided(method, field))]
    if near := did_you_mean(name, usable, before="; ") or did_you_mean(name, fields, before="; "):
        return near
    config = METHODS[method].config_class
    return f"; allowed: {', '.join(typed_names)}, and the fields of TRL's {config}"


def elsewhere(method: MethodName, name: str) -> str | None:
    """A message that names the methods with the field; None if `method` or no method has it."""
    methods = methods_with(name)
    if not methods or method in methods:
        return None
    return f"'{name}' is a field of {', '.join(methods)}; {method} has none"


def parse_extra(method: MethodName, name: str, value: Any) -> Any:
    """The field's value for TRL's config, a space or an expression. ValueError otherwise."""
    if reason := decided(method, name):
        raise ValueError(f"a recipe does not set this: {reason}")
    kind = _type(method, name)
    words = _words(method, name)
    parse = _checker(method, name)
    members = _members(kind)
    if any(get_origin(member) is dict for member in members) or dict in members:
        if is_space(value):
            raise ValueError("this field holds a mapping: only single values can be searched")
        return parse(value)
    number = float if float in members else int if int in members else None
    return searched(value, parse, words, None if str in members else number)


@cache
def _checker(method: MethodName, name: str) -> Callable[[Any], Any]:
    kind, words = _type(method, name), _words(method, name)
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    members = _members(kind)
    lists = any(get_origin(member) is list for member in members)
    names = [
        str(name)
        for member in members
        if get_origin(member) is Literal
        for name in get_args(member)
    ]
    _, allows = BOUNDS.get(name, ("", lambda _: True))

    def parse(value: Any) -> Any:
        hint = did_you_mean(value, names, before="; ") if isinstance(value, str) else ""
        refusal = ValueError(f"expected {words}; got {value!r}{hint}")
        if isinstance(value, bool) and not _takes_bool(members):
            raise refusal
        if lists and isinstance(value, str) and "," in value:
            value = listed(value) or value  # in a trial's parameters a list is comma-joined text
        try:
            parsed = adapter.validate_python(value)
        except ValidationError:
            raise refusal from None
        number = isinstance(parsed, int | float) and not isinstance(parsed, bool)
        if number and not (math.isfinite(parsed) and allows(parsed)):
            raise refusal
        return parsed

    return parse


def _type(method: MethodName, name: str) -> Any:
    field = trl_fields(method)[name]
    values = METHODS[method].values.get(name, field.choices)
    if not values:
        return field.type
    literal: Any = Literal.__getitem__(values)
    if get_origin(field.type) is list:
        return literal | list.__class_getitem__(literal)  # TRL also takes a single value
    return literal | None if _optional(field) else literal


def _optional(field: TrlField) -> bool:
    return NoneType in get_args(field.type)


def _members(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the type itself."""
    alternatives = () if get_origin(kind) in (Literal, list, dict) else get_args(kind)
    return alternatives or (kind,)


def _takes_bool(members: tuple[Any, ...]) -> bool:
    return any(
        member in (bool, Any) or (get_origin(member) is Literal and False in get_args(member))
        for member in members
    )


@cache
def _words(method: MethodName, name: str) -> str:
    texts = [_told(member) for member in _members(_type(method, name))]
    bound = BOUNDS.get(name)
    return " or ".join(dict.fromkeys(texts)) + (f" {bound[0]}" if bound else "")


def _told(kind: Any) -> str:
    if get_origin(kind) is Literal:
        values = [str(value) for value in get_args(kind)]
        return f"one of {', '.join(values[:20])}{', …' if values[20:] else ''}"
    if get_origin(kind) is list:
        inner = get_args(kind)[0]
        return "a list of them" if get_origin(inner) is Literal else f"a list, each {_told(inner)}"
    basic = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    special = {NoneType: "null", Any: "any value", dict: "a mapping"}
    return basic.get(kind) or special.get(get_origin(kind) or kind) or str(kind)
