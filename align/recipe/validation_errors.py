"""What is wrong with a recipe's raw data, as pydantic tells it: a place, a sentence, what came."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Place = tuple[str | int, ...]


def wrong_at(place: Place, text: str, came: Any = None) -> InitErrorDetails:
    """A field with a value that it cannot have."""
    ctx = {"error": ValueError(text)}
    return InitErrorDetails(type="value_error", loc=place, input=came, ctx=ctx)


def unknown_at(place: Place, text: str, came: Any = None) -> InitErrorDetails:
    """A field that there is not; `text` says what is near."""
    error = PydanticCustomError("unknown_field", "{text}", {"text": text})
    return InitErrorDetails(type=error, loc=place, input=came)


def again(error: ValidationError) -> list[InitErrorDetails]:
    """What was wrong, as it is told to pydantic a second time."""
    return [
        InitErrorDetails(
            type=one["type"], loc=one["loc"], input=one["input"], ctx=one.get("ctx", {})
        )
        for one in error.errors()
    ]


def raise_if(title: str, wrong: list[InitErrorDetails]) -> None:
    """ValidationError if anything is wrong."""
    if wrong:
        raise ValidationError.from_exception_data(title, wrong)
