"""A recipe as plain data, as YAML and as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from align.recipe.model import Recipe
from align.space.spaces import Expression, Space


def plain(recipe: Recipe) -> dict[str, Any]:
    """All fields with their defaults filled in; search spaces in their short form."""
    data: dict[str, Any] = _plain(recipe)
    return data


def to_yaml(recipe: Recipe) -> str:
    """YAML that loads as the same recipe."""
    return yaml.dump(plain(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def space_table(recipe: Recipe) -> list[tuple[str, str, str, str]]:
    """Rows of stage, field, its search space or expression, and its value in trial 0."""
    rows = []
    for name, stage in recipe.stages.items():
        first, drawn = stage.resolve(), stage.defaults()
        for path, value in stage.fields():
            if isinstance(value, Space | Expression):
                idle = isinstance(value, Space) and path not in drawn
                text = _short(first.value(path)) + (" (not searched)" if idle else "")
                rows.append((name, path, in_words(value), text))
    return rows


def promises(recipe: Recipe) -> list[str]:
    """Lines that name the stages' constraints and the trials that are tried first."""
    lines = []
    for name, stage in recipe.stages.items():
        lines += [f"{name} keeps {text}" for text in stage.constraints]
        for number, point in enumerate(stage.sweep.points, 1):
            assignments = ", ".join(f"{path} {_short(value)}" for path, value in point.items())
            lines.append(f"{name} tries as trial {number}: {assignments}")
    return lines


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    as_text = isinstance(value, bool) or not isinstance(value, int | float)
    return str(value) if as_text else f"{value:g}"


def in_words(value: Space | Expression) -> str:
    """`choice 8, 16` or `loguniform 1e-05 to 0.001 where optim is sgd` or `= 2 * r`."""
    if isinstance(value, Expression):
        return f"= {value.tie}"
    conditions = " and ".join(
        f"{name} is {' or '.join(map(_short, values))}" for name, values in value.when.items()
    )
    return value.in_words() + (f" where {conditions}" if conditions else "")


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of cells as aligned lines."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))] if rows else []
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


class _Flow(dict[str, Any]):
    """A mapping that is written on a single line."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Flow,
    lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True),
)
_Dumper.add_representer(
    list,
    lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True),
)


def _plain(value: Any) -> Any:
    if isinstance(value, Space):
        return _Flow(value.short())
    if isinstance(value, Expression):
        return value.tie
    if isinstance(value, BaseModel):
        extra = value.model_extra or {}
        return {
            name: _plain(field_value)
            for name, field_value in value
            if field_value is not None or name in extra
        }
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value
