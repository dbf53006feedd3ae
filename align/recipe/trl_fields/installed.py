"""The fields of TRL's configs, parsed from its installed sources: an import takes ten seconds."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union

from align.errors import AligneryError, RecipeError
from align.methods import METHODS, MethodName

_ENUMS = ("training_args.py", "trainer_utils.py")


@dataclass(frozen=True)
class TrlField:
    """A field as its class declares it. `default` is None if it is not a plain value.

    `type` is the annotation: enums of transformers become literals of their values, and types that
    cannot be determined without an import become Any. `choices` are those of the metadata.
    """

    name: str
    type: Any
    default: Any
    choices: tuple[Any, ...]


@cache
def trl_fields(method: MethodName) -> dict[str, TrlField]:
    """Every field of the method's config by name, inherited ones included.

    RecipeError if TRL or transformers is not installed or has another layout.
    """
    classes = (
        ("transformers", "training_args.py", "TrainingArguments"),
        ("trl", "trainer/base_config.py", "_BaseConfig"),
        ("trl", METHODS[method].config_file, METHODS[method].config_class),
    )
    fields: dict[str, TrlField] = {}
    for package, file, name in classes:
        fields |= {field.name: field for field in _declared(package, file, name)}
    return fields


def methods_with(field: str) -> list[MethodName]:
    """The methods whose config has `field`."""
    return [method for method in METHODS if field in trl_fields(method)]


@cache
def enum_values(name: str) -> tuple[str, ...]:
    """The values of an enum of transformers' training arguments; empty if it does not exist."""
    for file in _ENUMS:
        for node in _classes(_source("transformers", file)).values():
            if node.name == name and any("Enum" in ast.unparse(base) for base in node.bases):
                values = [
                    statement.value for statement in node.body if isinstance(statement, ast.Assign)
                ]
                return tuple(value.value for value in values if isinstance(value, ast.Constant))  # type: ignore[misc]
    return ()


@contextmanager
def trl_refusals(method: MethodName) -> Iterator[None]:
    """Turn errors of TRL's config and trainer into RecipeError."""
    try:
        yield
    except AligneryError:
        raise
    except (TypeError, ValueError, NotImplementedError, ImportError) as error:
        reason = " ".join(str(error).split()) or repr(error)
        raise RecipeError(f"TRL refuses the fields of this {method} stage: {reason}") from error


def _declared(package: str, file: str, name: str) -> Iterator[TrlField]:
    node = _classes(_source(package, file)).get(name)
    if node is None:
        raise RecipeError(f"{package}/{file} has no class {name}: install the pinned version")
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            options = _options(statement.value)
            yield TrlField(
                name=statement.target.id,
                type=_type(statement.annotation),
                default=_default(options),
                choices=_choices(options),
            )


@cache
def _source(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package)  # a top-level package is not imported
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.is_file():
        raise RecipeError(
            f"{package} is not installed, or has no {file}; "
            "it says which fields a stage may hold: install the pinned version"
        )
    return path


@cache
def _classes(path: Path) -> dict[str, ast.ClassDef]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.ClassDef)}


def _options(value: ast.expr | None) -> dict[str, ast.expr]:
    """The keywords of `field(...)`; a plain default is returned as the keyword `default`."""
    if isinstance(value, ast.Call):
        return {keyword.arg: keyword.value for keyword in value.keywords if keyword.arg}
    return {} if value is None else {"default": value}


def _default(options: dict[str, ast.expr]) -> Any:
    factory = options.get("default_factory")
    if isinstance(factory, ast.Lambda):
        return _literal(factory.body)
    return _literal(options.get("default"))


def _choices(options: dict[str, ast.expr]) -> tuple[Any, ...]:
    metadata = options.get("metadata")
    if not isinstance(metadata, ast.Dict):
        return ()
    for key, value in zip(metadata.keys, metadata.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == "choices":
            return tuple(_literal(value) or ())
    return ()


def _literal(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None  # a name or a call


_NAMES: dict[str, Any] = {
    "int": int, "float": float, "str": str, "bool": bool, "dict": dict, "list": list,
    "Union": Union, "Literal": Literal,
}  # fmt: skip


def _type(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value if node.value is None else Any
    if isinstance(node, ast.Name):
        values = () if node.id in _NAMES else enum_values(node.id)
        return Literal[values] if values else _NAMES.get(node.id, Any)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _type(node.left), _type(node.right)
        # `SchedulerType | str`: only the enum's values are valid; others fail in __post_init__.
        return left if _is_enum(node.left) and right is str else left | right
    if isinstance(node, ast.Subscript):
        return _subscript(_type(node.value), node.slice)
    return Any


def _is_enum(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and bool(enum_values(node.id))


def _subscript(kind: Any, index: ast.expr) -> Any:
    if kind is Literal:
        return Literal[_literal(index)]
    inner = index.elts if isinstance(index, ast.Tuple) else [index]
    types = tuple(_type(element) for element in inner)
    return kind[types] if kind in (dict, list, Union) else Any
