"""The routes. `create_api` works with any `EngineClient`, so they also run without Ray."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from cluster.errors import DatabaseError
from serve.access.key import Scope
from serve.batching.jobs import Refused, ScoreJob
from serve.http.auth_middleware import AuthMiddleware, key_of
from serve.http.backend import Backend, backend_of
from serve.http.body_limit import Intake
from serve.http.completion_handler import answered, spend
from serve.http.db_executor import soon
from serve.http.errors import ApiError, install_handlers
from serve.http.messages import Body, chat
from serve.http.openai_format import ChatForm, TextForm
from serve.http.schemas import (
    ChatRequest,
    CompletionRequest,
    FeedbackRequest,
    ScoreRequest,
    TokenizeRequest,
)
from serve.http.scoped_router import ScopedRouter
from serve.metrics.requests import Metered
from serve.metrics.snapshots import collect, page

IGNORED_HEADER = "x-alignery-ignored"
MOST_NAMED = 20
FLUSH_SECONDS = 1.0
_log = logging.getLogger("ray.serve")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}")

router = ScopedRouter()


def create_api(backend: Backend) -> FastAPI:
    """The HTTP interface as an ASGI application; it follows the database while it runs."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        await backend.catalogue.start()
        flushing = asyncio.create_task(_flush(backend))
        try:
            yield
        finally:
            flushing.cancel()
            await backend.catalogue.close()
            with suppress(DatabaseError):
                await to_thread.run_sync(backend.exposures.flush)

    app = FastAPI(title="Alignery", redoc_url=None, lifespan=running)
    documentation = {app.docs_url, app.swagger_ui_oauth2_redirect_url, app.openapi_url}

    def scope_of(path: str) -> Scope | None:
        return None if path in documentation else router.scope_of(path)

    app.state.backend = backend
    app.add_middleware(Intake)
    app.add_middleware(  # the middleware added last sees a request first
        AuthMiddleware,
        catalogue=backend.catalogue,
        limits=backend.tally,
        asked=backend.keys_asked,
        scope_of=scope_of,
    )
    app.add_middleware(Metered, meter=backend.meter)
    app.include_router(router)
    install_handlers(app)
    return app


@router.scoped("POST", "/v1/chat/completions")
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """Answer a chat, whole or streamed."""
    return await answered(request, body, ChatForm(), _ignored(body))


@router.scoped("POST", "/v1/completions")
async def completions(body: CompletionRequest, request: Request) -> Response:
    """Continue text, whole or streamed."""
    return await answered(request, body, TextForm(), _ignored(body))


@router.scoped("GET", "/v1/models")
async def models(request: Request) -> Any:
    """Every name that is served now."""
    return {"object": "list", "data": await backend_of(request).names.models()}


@router.scoped("GET", "/v1/models/{name:path}")
async def model(name: str, request: Request) -> Any:
    """One of them."""
    return await backend_of(request).names.model(name)


@router.scoped("POST", "/v1/score")
async def score(body: ScoreRequest, request: Request, response: Response) -> Any:
    """A reward adapter's score for each conversation; higher is better."""
    backend = backend_of(request)
    response.headers.update(_ignored(body))
    adapter = await backend.names.score(body.model)
    scores = await backend.engine.score(ScoreJob(body.chats, adapter))
    if isinstance(scores, Refused):
        raise ApiError.of(scores)
    await spend(backend, key_of(request), scores.prompt_tokens)
    usage = {"prompt_tokens": scores.prompt_tokens, "total_tokens": scores.prompt_tokens}
    return {"object": "scores", "model": body.model, "scores": scores.values, "usage": usage}


@router.scoped("POST", "/tokenize")
async def tokenize(body: TokenizeRequest, request: Request, response: Response) -> Any:
    """The tokens of a text or chat, and how many fit with what is written behind them."""
    backend = backend_of(request)
    response.headers.update(_ignored(body))
    await backend.names.model(body.model)  # checks the name; all models have the base's tokenizer
    prompt = chat(body.messages) if body.messages is not None else body.prompt or ""
    tokens = await backend.engine.tokenize(prompt, body.generate, body.chat_options)
    if isinstance(tokens, Refused):
        raise ApiError.of(tokens)
    return {"count": len(tokens.ids), "max_model_len": tokens.context, "tokens": tokens.ids}


@router.scoped("POST", "/v1/feedback", scope="feedback")
async def feedback(body: FeedbackRequest, request: Request, response: Response) -> Any:
    """Keep what a user said of an experiment's answer."""
    backend = backend_of(request)
    response.headers.update(_ignored(body))
    if (trouble := backend.catalogue.trouble) is not None:
        raise DatabaseError(trouble)
    await soon(backend.exposures.flush)  # the answer's exposure may still be buffered
    experiment = await soon(
        backend.experiments.record_feedback, body.request_id, body.value, body.comment or ""
    )
    return {"object": "feedback", "request_id": body.request_id, "experiment": experiment}


@router.scoped("GET", "/metrics", scope="admin")
async def metrics(request: Request) -> Response:
    """What all replicas have counted, as Prometheus reads it."""
    backend = backend_of(request)
    await backend.tally.report(backend.process, collect(backend.meter.registry))
    return PlainTextResponse(page(await backend.tally.total()), media_type=CONTENT_TYPE_LATEST)


@router.scoped("GET", "/healthz", scope=None)
async def healthz() -> Any:
    """The process answers."""
    return {"status": "ok"}


@router.scoped("GET", "/readyz", scope=None)
async def readyz(request: Request) -> Any:
    """The engine answers, too; with what is wrong beside it though known names are served.

    That is a database that is away, and aliases that could not move to where they point there.
    """
    backend = backend_of(request)
    if not await backend.engine.ready():
        raise ApiError(503, "the engine is not ready", "not_ready")
    answer: dict[str, Any] = {"status": "ready"}
    if (trouble := backend.catalogue.trouble) is not None:
        answer["database"] = trouble
    if failures := backend.catalogue.moves.failures:
        answer["moves_failed"] = {alias: failure.reason for alias, failure in failures.items()}
    return answer


def _ignored(body: Body) -> dict[str, str]:
    """A header with the names of unknown fields of the body, so that misspelt ones are noticed."""
    names = [name if _PLAIN.fullmatch(name) else "?" for name in body.ignored]
    if len(names) > MOST_NAMED:
        names[MOST_NAMED:] = ["..."]
    return {IGNORED_HEADER: ", ".join(names)} if names else {}


async def _flush(backend: Backend) -> None:
    """Write the buffered exposures regularly, while the database is available."""
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        if backend.catalogue.trouble is not None:
            continue
        try:
            await to_thread.run_sync(backend.exposures.flush)
        except DatabaseError:
            pass  # the catalogue reports that the database is unavailable
        except Exception:
            _log.exception("kept exposures could not be written")
