"""Errors in the format of OpenAI's API, so that its clients raise their own exceptions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from align.errors import AligneryError
from cluster.errors import AdapterNotFound
from serve.batching.jobs import Refused
from serve.errors import AnswerNotFound

_log = logging.getLogger("ray.serve")


#: OpenAI's error types, where they follow from the status.
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

#: OpenAI's error codes, where they follow from the type of pydantic's error.
_CODES = {
    "missing": "missing_required_parameter",
    "unsupported_parameter": "unsupported_parameter",
}
#: Types of errors that a whole body has for the sake of a field begin so; the field's name follows.
IN_FIELD = "in_field:"


class ApiError(Exception):
    """An error response."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry_after: float = 1.0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after

    @classmethod
    def of(cls, refused: Refused) -> ApiError:
        """The error for a job that an engine replica refused."""
        return cls(refused.status, refused.message, refused.code, refused.param)

    def body(self) -> dict[str, Any]:
        """`{"error": {...}}`."""
        kind = _KINDS.get(self.status, "invalid_request_error")
        if self.status >= 500:
            kind = "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> JSONResponse:
        """The HTTP response; 429 and 503 have a retry-after header, 401 www-authenticate."""
        headers = {}
        if self.status in (429, 503):
            headers["retry-after"] = f"{self.retry_after:.0f}"
        elif self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)


def install_handlers(app: FastAPI) -> None:
    """Answer every error of a route in OpenAI's format."""

    @app.exception_handler(ApiError)
    async def refuse(_: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return invalid_field(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        target = f"{request.method} {request.url.path}"
        message = f"{target}: {error.detail}" if error.status_code in (404, 405) else error.detail
        return ApiError(error.status_code, str(message)).response()

    @app.exception_handler(AligneryError)
    async def expected(_: Request, error: AligneryError) -> JSONResponse:
        if isinstance(error, AdapterNotFound):
            return ApiError(404, str(error), "model_not_found", "model").response()
        if isinstance(error, AnswerNotFound):
            return ApiError(404, str(error), "not_found", "request_id").response()
        return ApiError(503, str(error), "unavailable").response()

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return ApiError(500, f"internal error: {type(error).__name__}").response()


def invalid_field(errors: Sequence[Any]) -> ApiError:
    """The error for the first invalid field, with its path and what is allowed."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON: {first['ctx']['error']}", "invalid_json")
    param = _param(first["loc"])
    if first["type"].startswith(IN_FIELD):  # raised for the body, about a field
        param = ".".join(filter(None, [param, first["type"].removeprefix(IN_FIELD)]))
    message = str(first["msg"]).removeprefix("Value error, ")
    code = _CODES.get(first["type"], "invalid_value")
    return ApiError(400, f"{param}: {message}" if param else message, code, param)


def _param(location: Sequence[str | int]) -> str | None:
    """`messages[0].content` from pydantic's path."""
    path = ""
    for part in location[1:]:
        if part == "[key]":  # pydantic's marker for an invalid key, after the key itself
            continue
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path or None
