"""Fields that are declared in tables and become fields of request bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, create_model

Model = TypeVar("Model", bound=BaseModel)


def with_fields(fields: Mapping[str, Any]) -> Callable[[type[Model]], type[Model]]:
    """Decorates a model: definitions of `create_model` become fields after its own fields.

    A field that the model declares itself stays as it is.
    """

    def decorate(model: type[Model]) -> type[Model]:
        added: dict[str, Any] = {
            name: field for name, field in fields.items() if name not in model.model_fields
        }
        return create_model(
            model.__name__,
            __base__=model,
            __module__=model.__module__,
            __doc__=model.__doc__,
            **added,
        )

    return decorate
