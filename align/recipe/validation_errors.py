"""What is wrong with a recipe's raw data, as pydantic tells it: a place, a sentence, what came."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Place = tuple[str | int, ...]


def wrong_at(place: Place, text: str, value: Any = None) -> InitErrorDetails:
    """A field with a value that it cannot have."""
    ctx = {"error": ValueError(text)}
    return InitErrorDetails(type="value_error", loc=place, input=value, ctx=ctx)


def unknown_at(place: Place, text: str, value: Any = None) -> InitErrorDetails:
    """A field that there is not; `text` says what is near."""
    error = PydanticCustomError("unknown_field", "{text}", {"text": text})
    return InitErrorDetails(type=error, loc=place, input=value)


def again(error: ValidationError) -> list[InitErrorDetails]:
    """What was wrong, as it is told to pydantic a second time."""
    return [
        InitErrorDetails(
            type=detail["type"], loc=detail["loc"], input=detail["input"], ctx=detail.get("ctx", {})
        )
        for detail in error.errors()
    ]


def raise_if(title: str, errors: list[InitErrorDetails]) -> None:
    """ValidationError if anything is wrong."""
    if errors:
        raise ValidationError.from_exception_data(title, errors)
