"""Limits on the size and duration of request bodies."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.http.errors import ApiError

MAXIMUM_MIB = 8
BODY_SECONDS = 30.0


class Intake:
    """Reads a whole body before its route runs, so that slow clients occupy nothing else.

    Status 413 for a body of more than `most` bytes, 408 for a body not complete after `seconds`.
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
        """The whole body; None if the client disconnected. ApiError 408 or 413."""
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
    """The request's content length in bytes; 0 without a valid header."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body once, then further messages, such as a disconnect."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
