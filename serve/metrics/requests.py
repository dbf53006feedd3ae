"""Metrics of an ingress replica."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The status of requests whose client disconnected before the end of the response, as in nginx.
LEFT = 499

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class RequestMeter:
    """Metrics of an ingress."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.requests = Counter(
            "alignery_requests",
            "Requests that were answered, by the adapter that answered where one did.",
            ["route", "adapter", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "alignery_request_seconds",
            "From a request's arrival to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.unfinished = Gauge(
            "alignery_requests_in_progress", "Requests under way.", registry=self.registry
        )


class Metered:
    """ASGI middleware that counts every request, whatever its result.

    A response that begins and does not end is counted by its end: `LEFT` if the client
    disconnected, 500 after an exception. `ended` in the request's state goes before: the status of
    a stream that has all of its parts, the last of which may be an error.
    """

    def __init__(self, app: ASGIApp, meter: RequestMeter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, ending, lost = time.monotonic(), 0, LEFT, False
        state = scope.setdefault("state", {})

        async def watched(message: Message) -> None:
            nonlocal status, ending, lost
            try:
                await send(message)
            except OSError:  # how servers say that the client is gone
                lost = True
                raise
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                ending = status

        with self._meter.unfinished.track_inprogress():
            try:
                await self._app(scope, receive, watched)
            except Exception:  # an outer handler answers unexpected errors
                if ending == LEFT and not lost:
                    ending = 500
                raise
            finally:
                # All paths without a route share a label, or clients could create any number.
                route = getattr(scope.get("route"), "path", "none")
                counted = str(state.get("ended", ending))
                self._meter.requests.labels(route, state.get("adapter", ""), counted).inc()
                self._meter.seconds.labels(route).observe(time.monotonic() - began)
