"""Load and parse recipes; all errors are reported in a single message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from align.errors import RecipeError
from align.paths import names_file
from align.recipe.model import Recipe
from align.recipe.rewards import located
from align.space.spaces import Space, is_space
from align.suggestions import did_you_mean

BUILTIN = Path(__file__).parent.parent / "recipes"


def builtin_recipes() -> dict[str, Path]:
    """Shipped recipes by name."""
    paths = {path.stem: path for path in BUILTIN.glob("*.yaml")}
    return dict(sorted(paths.items()))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A shipped recipe by its name, or a recipe from a YAML file.

    Relative data paths and reward functions are resolved in the recipe's folder. RecipeError says
    what is wrong.
    """
    shipped = builtin_recipes()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not names_file(path):
        raise RecipeError(
            f"no recipe '{str(name_or_path)[:200]}': neither a file nor one of the shipped ones "
            f"({', '.join(shipped)})"
        )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    return parse_recipe(raw, str(path), folder=path.parent)


def parse_recipe(raw: Any, source: str = "recipe", folder: Path | None = None) -> Recipe:
    """A recipe from plain data. RecipeError names `source`, wrong fields and what is allowed."""
    if not isinstance(raw, Mapping):
        raise RecipeError(f"{source}: a recipe is a mapping with name, base and stages")
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        lines = [error_line(detail) for detail in error.errors()]
        raise RecipeError(f"{source}: " + "; ".join(dict.fromkeys(lines))) from None
    if folder is not None:
        for data in (recipe.data, *(stage.data for stage in recipe.stages.values())):
            if data is not None and data.path is not None and "://" not in data.path:
                data.path = str((folder / data.path).resolve())
        for stage in recipe.stages.values():
            stage.rewards = located(stage.rewards, folder)
    return recipe


def error_line(error: Any) -> str:
    """A line on one of pydantic's errors in a recipe: the field, what is wrong, what is allowed."""
    location = ".".join(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return f"unknown field '{location}'{_suggest(error['loc'])}"
    if error["type"] == "unknown_field":  # among TRL's fields: the message ends with a hint
        return f"unknown field '{location}'{error['msg']}"
    message = error["msg"].removeprefix("Value error, ")
    value = error.get("input")
    if error["type"] == "missing":
        return f"missing field '{location}'"
    if error["type"] == "string_pattern_mismatch":
        return f"{location}: a name is lower-case letters, digits, - and _; got {value!r}"
    if error["type"] != "value_error":
        if is_space(value):
            hint = "" if error["loc"][0] == "stages" else ": only fields of a stage can"
            return f"{location}: this field takes one value and cannot be searched{hint}"
        message += "" if isinstance(value, Mapping) else f"; got {value!r}"
    return f"{location}: {message}" if location else message


def _suggest(loc: tuple[str | int, ...]) -> str:
    model: Any = Recipe
    for part in loc[:-1]:
        field = model.model_fields.get(str(part)) if _is_model(model) else None
        if field is not None:
            model = next((candidate for candidate in _models(field.annotation)), None)
    if not _is_model(model):
        return ""
    names = Space.long_form_names() if model is Space else list(model.model_fields)
    return did_you_mean(str(loc[-1]), names, before="; ") or f"; allowed: {', '.join(names)}"


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _models(annotation: Any) -> list[Any]:
    if _is_model(annotation):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]
