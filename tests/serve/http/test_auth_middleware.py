"""Keys over HTTP: which routes ask for them, and what becomes of requests that lack them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from starlette.routing import Match, Route

from serve.access.keys import Keys
from serve.http.api import create_api
from serve.http.auth_middleware import route_path
from serve.http.backend import Backend
from tests.serve.serve_fakes import BASE, CHAT, LocalTally, ask
from tests.waiting import wait_until


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def refusal(send: Callable[[], Response], expected: str) -> Response:
    """The first answer that is no 200: the endpoint looks at the database twice a second."""
    return wait_until(lambda: answer if (answer := send()).status_code != 200 else None, expected)


@pytest.fixture
def closed(api: TestClient, keys: Keys) -> TestClient:
    """The interface, which asks for keys already."""
    keys.create("some", ["infer"])
    wait_until(lambda: api.get("/v1/models").status_code != 200, "keys are asked for")
    return api


def test_keys_are_asked_for_once_there_is_one_and_count_at_once(api, keys):
    assert ask(api).status_code == 200
    _, secret = keys.create("first", ["infer"])
    refused = refusal(lambda: ask(api), "a request without a key is refused")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (401, "invalid_api_key")
    assert error["type"] == "authentication_error"
    assert refused.headers["www-authenticate"] == "Bearer"
    assert api.post("/v1/chat/completions", json=CHAT, headers=bearer(secret)).status_code == 200
    _, young = keys.create("young", ["infer"])
    assert api.get("/v1/models", headers=bearer(young)).status_code == 200
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert api.get(path).status_code == 200


def test_no_route_but_the_open_ones_answers_without_a_key(closed):
    open_ones = {"/healthz", "/readyz"}
    for path, methods in closed.get("/openapi.json").json()["paths"].items():
        for method in methods:
            status = closed.request(method, path.replace("{name}", "base")).status_code
            assert (status == 200) if path in open_ones else (status == 401), path
    assert closed.get("/nothing").status_code == 401


def test_a_revoked_key_is_refused_soon(api, keys):
    _, secret = keys.create("first", ["infer"])
    assert api.get("/v1/models", headers=bearer(secret)).status_code == 200
    keys.revoke("first")
    refused = refusal(
        lambda: api.get("/v1/models", headers=bearer(secret)), "the revoked key is refused"
    )
    assert refused.status_code == 401 and "revoked" in refused.json()["error"]["message"]
    assert api.get("/v1/models").status_code == 401  # and nothing is open again


def test_each_scope_has_its_routes(closed, keys):
    secrets = {scope: keys.create(scope, [scope])[1] for scope in ("infer", "feedback", "admin")}
    rating = {"request_id": "chatcmpl-x", "value": 1}

    def status(scope: str) -> tuple[int, int]:
        headers = bearer(secrets[scope])
        chat = closed.post("/v1/chat/completions", json=CHAT, headers=headers)
        rated = closed.post("/v1/feedback", json=rating, headers=headers)
        return chat.status_code, rated.status_code

    assert status("admin") == (200, 404)  # 404: there is no such answer
    assert status("infer") == (200, 403)
    assert status("feedback") == (403, 404)


@pytest.mark.parametrize("path", ["/metrics%0A", "/metrics/", "//metrics", "/v1/feedback%0A"])
def test_no_spelling_of_a_path_gets_around_its_scope(closed, keys, path):
    _, secret = keys.create("reader", ["infer"])
    method = "POST" if "feedback" in path else "GET"
    body = {"request_id": "chatcmpl-x", "value": 1}
    answer = closed.request(method, path, headers=bearer(secret), json=body)
    assert answer.status_code in (403, 404) and "alignery_" not in answer.text
    if answer.status_code == 404:
        assert "no answer of an experiment" not in answer.text


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/v1/models", ""),
        ("/v1/models", "/x"),
        ("/x/v1/models", "/x"),
        ("/x/x/v1", "/x"),
        ("/xy/v1", "/x"),
        ("/x/", "/x"),
        ("/x/v1", "/x/"),
    ],
)
def test_the_path_that_is_checked_is_the_path_that_routes_match(path: str, root: str) -> None:
    """Starlette matches routes by a private function; this compares with what a route receives."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": root}
    match, received = Route("/{rest:path}", lambda request: None).matches(scope)
    assert match == Match.FULL
    assert route_path(scope) == f"/{received['path_params']['rest']}"


def test_below_a_prefix_the_same_paths_need_the_same_keys(app, keys):
    secrets = {scope: keys.create(scope, [scope])[1] for scope in ("infer", "feedback")}
    rating = {"request_id": "chatcmpl-x", "value": 1}
    with TestClient(app, root_path="/x", raise_server_exceptions=False) as api:
        assert api.get("/x/healthz").status_code == 200
        assert api.get("/x/metrics", headers=bearer(secrets["infer"])).status_code == 403
        found = {
            scope: api.post("/x/v1/feedback", json=rating, headers=bearer(secret)).status_code
            for scope, secret in secrets.items()
        }
    assert found == {"infer": 403, "feedback": 404}


@pytest.fixture
def always(api: TestClient, keys: Keys) -> Iterator[Callable[[bool | None], TestClient]]:
    """Another endpoint over the same backend, which asks for keys as a test says."""
    backend = api.app.state.backend  # type: ignore[attr-defined]
    opened: list[TestClient] = []

    def make(asked: bool | None) -> TestClient:
        source = backend.catalogue._source
        client = TestClient(create_api(Backend(backend.engine, source, BASE, LocalTally(), asked)))
        opened.append(client)
        return client.__enter__()

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def test_an_endpoint_may_always_or_never_ask(always, keys):
    assert ask(always(True)).status_code == 401
    keys.create("first", ["infer"])
    assert ask(always(False)).status_code == 200


def test_requests_in_a_minute(closed, keys):
    _, secret = keys.create("few", ["infer"], requests_per_minute=3)
    answers = [closed.get("/v1/models", headers=bearer(secret)) for _ in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert answers[-1].json()["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_in_a_day(closed, keys, stream):
    _, secret = keys.create("little", ["infer"], tokens_per_day=15)
    headers = bearer(secret)

    def chat() -> Any:  # 5 tokens read and 5 written
        body = CHAT | {"stream": stream}
        return closed.post("/v1/chat/completions", json=body, headers=headers)

    assert [chat().status_code for _ in range(3)] == [200, 200, 429]
    assert int(chat().headers["retry-after"]) <= 86_400


def test_tokens_of_scores_count(closed, keys):
    _, secret = keys.create("little", ["infer"], tokens_per_day=9)
    body = {"model": "arithmetic/reward:1", "messages": CHAT["messages"]}  # 5 tokens

    def score() -> int:
        return closed.post("/v1/score", json=body, headers=bearer(secret)).status_code

    assert [score() for _ in range(3)] == [200, 200, 429]
