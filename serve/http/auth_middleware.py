"""The check of API keys and their limits, before a body is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.access import key as keys
from serve.access.key import Key, UnknownKey
from serve.access.limits import RateLimits
from serve.catalogue import Catalogue
from serve.errors import AccessError
from serve.http.errors import ApiError


class AuthMiddleware:
    """Passes requests that have a valid key and are within its limits.

    `asked` True requires keys always, False never, None once any key was created. `scope_of` is the
    scope that a path requires, None if it needs no key. A request that passes has its `Key` (or
    None) as `request.state.key`.
    """

    def __init__(
        self,
        app: ASGIApp,
        catalogue: Catalogue,
        limits: RateLimits,
        asked: bool | None,
        scope_of: Callable[[str], keys.Scope | None],
    ) -> None:
        self._app = app
        self._catalogue = catalogue
        self._limits = limits
        self._asked = asked
        self._scope_of = scope_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                scope.setdefault("state", {})["key"] = await self._key(scope)
            except ApiError as error:
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _key(self, scope: Scope) -> Key | None:
        asked = bool(self._catalogue.now.keys) if self._asked is None else self._asked
        required = self._scope_of(route_path(scope))
        if not asked or required is None:
            return None
        presented = Headers(scope=scope).get("authorization")
        try:
            key = await self._known(
                lambda: keys.admitted(presented, self._catalogue.now.keys, required)
            )
        except AccessError as error:
            code = "invalid_api_key" if error.status == 401 else "insufficient_permissions"
            raise ApiError(error.status, str(error), code) from None
        if key.limited and (wait := await self._limits.admit(key)):
            message = f"the API key '{key.name}' has used up what it may; try again in {wait:.0f} s"
            raise ApiError(429, message, "rate_limit_exceeded", retry_after=wait)
        return key

    async def _known(self, find: Callable[[], Key]) -> Key:
        """The key that `find` returns; refreshes the catalogue once if the key is unknown."""
        try:
            return find()
        except UnknownKey:
            if self._catalogue.trouble is None:
                await self._catalogue.refresh()
            return find()


def route_path(scope: Scope) -> str:
    """The path as routes match it: relative to the root path, without a final newline."""
    path, root = scope["path"], scope.get("root_path", "")
    relative = path.removeprefix(root)
    # ASGI's path contains the root path; a root that ends within a segment is not the path's.
    is_below = path.startswith(root) and relative[:1] in ("", "/")
    return str(relative if is_below else path).removesuffix("\n")


def key_of(request: Request) -> Key | None:
    """The request's key; None if keys are not required."""
    return cast("Key | None", getattr(request.state, "key", None))
