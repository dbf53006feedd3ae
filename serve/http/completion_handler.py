"""Answers to chat and text completion requests, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from cluster.errors import DatabaseError
from serve.access.key import Key
from serve.batching.jobs import GenerateJob, Refused
from serve.http.auth_middleware import key_of
from serve.http.backend import Backend, backend_of
from serve.http.db_executor import soon
from serve.http.errors import ApiError
from serve.http.model_resolver import ModelTarget
from serve.http.openai_format import AnswerFormat, Form
from serve.http.schemas import ChatRequest, CompletionRequest

VARIANT_HEADER = "x-alignery-variant"


async def answered(
    request: Request,
    body: ChatRequest | CompletionRequest,
    form: Form,
    headers: dict[str, str],
) -> Response:
    """The response in `form`, with `headers`. ApiError for an unknown model or a refused job."""
    backend, key = backend_of(request), key_of(request)
    target = await backend.names.chat(body.model, body.user)
    job = body.job(target.adapter)
    request.state.adapter = target.adapter.name if target.adapter else "base"
    fingerprint = target.adapter.adapter_id if target.adapter else "base"
    answer = AnswerFormat(
        form=form,
        model=body.model,
        # In an experiment, the body must not reveal which variant has answered.
        fingerprint=None if target.exposed else fingerprint,
        rows=job.rows,
        include_usage=body.include_usage,
    )
    if target.exposed:
        headers = {**headers, VARIANT_HEADER: target.exposed.variant}
    if job.streamed:
        return await _streamed(request, target, job, answer, headers)
    outcome = await backend.engine.complete(job)
    if isinstance(outcome, Refused):
        raise ApiError.of(outcome)
    await _expose(backend, answer.id, target)
    content = answer.whole(outcome)
    await spend(backend, key, answer.usage.total)
    return JSONResponse(content, headers=headers)


async def _streamed(
    request: Request,
    target: ModelTarget,
    job: GenerateJob,
    answer: AnswerFormat,
    headers: dict[str, str],
) -> Response:
    backend, key = backend_of(request), key_of(request)
    stream = backend.engine.stream(job)
    try:
        first = await anext(stream)
        if isinstance(first[0], Refused):
            raise ApiError.of(first[0])
        await _expose(backend, answer.id, target)
    except BaseException:
        await stream.aclose()
        raise
    headers = {**headers, "cache-control": "no-cache"}

    async def events() -> AsyncGenerator[str, None]:
        try:
            async with aclosing(answer.events(first, stream)) as parts:
                async for part in parts:
                    if answer.ended is not None:  # clients may leave when they have the last part
                        request.state.ended = answer.ended
                    yield part
        finally:  # a client that disconnects pays for what it has received
            await spend(backend, key, answer.usage.total)

    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


async def spend(backend: Backend, key: Key | None, tokens: int) -> None:
    """Count tokens against the key's quota."""
    if key is not None and key.limited:
        await backend.tally.spend(key, tokens)


async def _expose(backend: Backend, request_id: str, target: ModelTarget) -> None:
    """Record the exposure before the answer is sent, so that its feedback cannot come first."""
    if target.exposed is None:
        return
    exposure = request_id, target.exposed, target.adapter.adapter_id if target.adapter else None
    if backend.catalogue.trouble is None:
        try:
            return await soon(backend.exposures.record, *exposure)
        except DatabaseError:  # it may still get written: writing it twice is harmless
            pass
    backend.exposures.keep(*exposure)
