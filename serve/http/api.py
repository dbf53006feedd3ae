"""The routes. `create_api` puts them over any `EngineClient`, so they run without Ray, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from serve.batching.jobs import EngineClient, GenerateJob, Refused, ScoreJob
from serve.experiments import Experiments
from serve.http.answers import Answer, ChatForm, Form, TextForm
from serve.http.errors import ApiError, install_handlers
from serve.http.names import Exposed, Names, Target
from serve.http.schemas import ChatRequest, CompletionRequest, FeedbackRequest, ScoreRequest

VARIANT_HEADER = "x-alignery-variant"

router = APIRouter()


@dataclass(frozen=True)
class Backend:
    """What the routes work on."""

    engine: EngineClient
    names: Names
    experiments: Experiments


def create_api(backend: Backend) -> FastAPI:
    """The whole interface as an ASGI application."""
    app = FastAPI(title="Alignery", docs_url=None, redoc_url=None)
    app.state.backend = backend
    app.include_router(router)
    install_handlers(app)
    return app


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """Answer a chat, whole or streamed."""
    backend = _backend(request)
    target = await to_thread.run_sync(backend.names.chat, body.model, body.user)
    return await _answer(backend, body, target, body.job(target.adapter), ChatForm())


@router.post("/v1/completions")
async def completions(body: CompletionRequest, request: Request) -> Response:
    """Continue text, whole or streamed."""
    backend = _backend(request)
    target = await to_thread.run_sync(backend.names.chat, body.model, body.user)
    return await _answer(backend, body, target, body.job(target.adapter), TextForm())


@router.get("/v1/models")
async def models(request: Request) -> Any:
    """Every name that is served now."""
    return {"object": "list", "data": await to_thread.run_sync(_backend(request).names.models)}


@router.get("/v1/models/{name:path}")
async def model(name: str, request: Request) -> Any:
    """One of them."""
    return await to_thread.run_sync(_backend(request).names.model, name)


@router.post("/v1/score")
async def score(body: ScoreRequest, request: Request) -> Any:
    """A reward adapter's score for each conversation; higher is better."""
    backend = _backend(request)
    adapter = await to_thread.run_sync(backend.names.score, body.model)
    scores = await backend.engine.score(ScoreJob(body.chats, adapter))
    if isinstance(scores, Refused):
        raise ApiError.of(scores)
    return {"object": "scores", "model": body.model, "scores": scores}


@router.post("/v1/feedback")
async def feedback(body: FeedbackRequest, request: Request) -> Any:
    """Keep what a user said of an experiment's answer."""
    experiment = await to_thread.run_sync(
        _backend(request).experiments.record_feedback,
        body.request_id,
        body.value,
        body.comment or "",
    )
    return {"object": "feedback", "request_id": body.request_id, "experiment": experiment}


@router.get("/healthz")
async def healthz() -> Any:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> Any:
    """The engine and the database answer, too."""
    backend = _backend(request)
    if not await backend.engine.ready():
        raise ApiError(503, "the engine is not ready", "not_ready")
    await to_thread.run_sync(backend.experiments.find, "readyz")
    return {"status": "ready"}


def _backend(request: Request) -> Backend:
    backend = request.app.state.backend
    assert isinstance(backend, Backend)
    return backend


async def _answer(
    backend: Backend,
    body: ChatRequest | CompletionRequest,
    target: Target,
    job: GenerateJob,
    form: Form,
) -> Response:
    fingerprint = target.adapter.adapter_id if target.adapter else "base"
    answer = Answer(
        form=form,
        model=body.model,
        # In an experiment nobody should see from the answer which variant it came from.
        fingerprint=None if target.exposed else fingerprint,
        rows=job.rows,
        include_usage=body.include_usage,
    )
    headers = {VARIANT_HEADER: target.exposed.variant} if target.exposed else {}
    if job.streamed:
        return await _streamed(backend, target, job, answer, headers)
    outcome = await backend.engine.complete(job)
    if isinstance(outcome, Refused):
        raise ApiError.of(outcome)
    await _expose(backend, answer.id, target)
    return JSONResponse(answer.whole(outcome), headers=headers)


async def _streamed(
    backend: Backend, target: Target, job: GenerateJob, answer: Answer, headers: dict[str, str]
) -> Response:
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
    events = answer.events(first, stream)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _expose(backend: Backend, request_id: str, target: Target) -> None:
    """Note the exposure before the answer leaves, or its feedback could come first."""
    exposed: Exposed | None = target.exposed
    if exposed is not None:
        adapter_id = target.adapter.adapter_id if target.adapter else None
        await to_thread.run_sync(
            backend.experiments.record_exposure,
            request_id,
            exposed.experiment,
            exposed.unit,
            exposed.variant,
            adapter_id,
        )
