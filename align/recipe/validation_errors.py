"""Errors in a recipe's raw data in pydantic's form: location, message and input."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Place = tuple[str | int, ...]


def wrong_at(place: Place, text: str, value: Any = None) -> InitErrorDetails:
    """The error of a field whose value is not allowed."""
    ctx = {"error": ValueError(text)}
    return InitErrorDetails(type="value_error", loc=place, input=value, ctx=ctx)


def unknown_at(place: Place, text: str, value: Any = None) -> InitErrorDetails:
    """The error of an unknown field; `text` suggests similar names."""
    error = PydanticCustomError("unknown_field", "{text}", {"text": text})
    return InitErrorDetails(type=error, loc=place, input=value)


def again(error: ValidationError) -> list[InitErrorDetails]:
    """The details of an error, in the form in which pydantic accepts them again."""
    return [
        InitErrorDetails(
            type=detail["type"], loc=detail["loc"], input=detail["input"], ctx=detail.get("ctx", {})
        )
        for detail in error.errors()
    ]


def raise_if(title: str, errors: list[InitErrorDetails]) -> None:
    """Raise ValidationError if there are any errors."""
    if errors:
        raise ValidationError.from_exception_data(title, errors)
