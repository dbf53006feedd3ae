"""Routes that are declared together with the scope of the API keys that may call them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.routing import compile_path

from serve.access.key import Scope

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class ScopedRouter(APIRouter):
    """A router whose paths have a scope, which `AuthMiddleware` requires."""

    def __init__(self) -> None:
        super().__init__()
        self._scopes: list[tuple[re.Pattern[str], Scope | None]] = []

    def scoped(
        self, method: str, path: str, scope: Scope | None = "infer"
    ) -> Callable[[Endpoint], Endpoint]:
        """Decorates the endpoint of `path`. Its callers need a key with `scope`; None: no key.

        All methods of a path have the scope that was declared first.
        """
        self._scopes.append((compile_path(path)[0], scope))
        return self.api_route(path, methods=[method])

    def scope_of(self, path: str) -> Scope | None:
        """The scope of a request's path; `infer` for a path without a route."""
        return next((scope for pattern, scope in self._scopes if pattern.fullmatch(path)), "infer")
