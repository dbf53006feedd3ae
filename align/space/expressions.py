"""Arithmetic expressions in a recipe: computed fields, and the bounds of constraints."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator
from functools import lru_cache

#: Operators that an expression may hold.
SIGNS = "+ - * / **"
_LONGEST = 1000


@lru_cache(maxsize=512)
def read(text: str) -> ast.expr:
    """Parse an expression. ValueError if `text` is not arithmetic of numbers and names."""
    if len(text) > _LONGEST:
        raise ValueError(f"an expression has {_LONGEST} characters at most; got {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):  # ValueError: a null byte
        raise ValueError(f"no expression: {text!r}") from None
    _check(tree)
    return tree


def is_calculation(text: str) -> bool:
    """Whether `text` holds an operator, rather than being a single name or no expression."""
    try:
        tree = ast.parse(text[:_LONGEST].strip(), mode="eval")
    except (SyntaxError, ValueError):
        return len(text) > _LONGEST
    return any(isinstance(node, ast.BinOp) for node in ast.walk(tree))


def names_in(tree: ast.expr) -> list[str]:
    """The names in an expression, without duplicates; dotted names (`lora.r`) are not split."""
    return list(dict.fromkeys(_names(tree)))


def evaluate(tree: ast.expr, value_of: Callable[[str], float]) -> float:
    """The value of an expression. ValueError for a division by zero or a result not finite."""
    try:
        result = _evaluate(tree, value_of)
    except ArithmeticError as error:
        raise ValueError(str(error.args[-1]).lower()) from None
    if isinstance(result, complex) or not math.isfinite(result):
        raise ValueError(f"{ast.unparse(tree)} is {result}, which is no number to use")
    return result


_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: lambda base, exponent: (
        float(base) ** exponent
    ),  # powers of integers could grow without bound
}


def _check(node: ast.expr) -> None:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        _check(node.left)
        _check(node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        _check(node.operand)
    elif not (_is_number(node) or _dotted(node)):
        raise ValueError(f"'{ast.unparse(node)}': only numbers, names and {SIGNS} may be used")


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _dotted(node: ast.expr) -> str:
    """The dotted name (`lora.r`); empty if `node` is not a name."""
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return node.id if isinstance(node, ast.Name) else ""


def _names(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.BinOp):
        yield from (*_names(node.left), *_names(node.right))
    elif isinstance(node, ast.UnaryOp):
        yield from _names(node.operand)
    elif name := _dotted(node):
        yield name


def _evaluate(node: ast.expr, value_of: Callable[[str], float]) -> float:
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, value_of), _evaluate(node.right, value_of)
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        return -_evaluate(node.operand, value_of)
    if isinstance(node, ast.Constant):
        return node.value  # type: ignore[return-value]  # read() accepts only numbers
    return value_of(_dotted(node))
