"""Bodies on their way in: none too large, none too slow, and no client that only connects."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.http.errors import ApiError

MAXIMUM_MIB = 8
BODY_SECONDS = 30.0


class Intake:
    """Reads a whole body before a route sees it, so that no slow client holds anything else.

    413 for a body of more than `most` bytes, 408 for one that is not there after `seconds`.
    """

    def __init__(
        self, app: ASGIApp, most: int = MAXIMUM_MIB * 2**20, seconds: float = BODY_SECONDS
    ) -> None:
        self._app = app
        self._most = most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._body(scope, receive)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replayed(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """All of it; None if the client left. ApiError 408 and 413."""
        if _declared(scope) > self._most:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self._most:
                        raise self._too_large()
        except TimeoutError:
            text = f"the body was not complete after {self._seconds:g} s; send it faster"
            raise ApiError(408, text, "request_timeout") from None
        return bytes(body)

    def _too_large(self) -> ApiError:
        text = f"the body is larger than {self._most / 2**20:g} MiB; send less at once"
        return ApiError(413, text, "body_too_large")


def _declared(scope: Scope) -> int:
    """The length that the client announces; 0 if it announces none."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, then whatever else comes: that the client hangs up, above all."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
