"""Whatever the OpenAPI page allows, and much that it does not, is answered without a 5xx."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from tests.waiting import wait_until

pytestmark = pytest.mark.chaos

EXAMPLES = 100


@pytest.fixture
def served(app: FastAPI) -> Iterator[str]:
    """The interface over the fake engine, on a port."""
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the server has started")
    (socket,) = server.servers[0].sockets
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_is_a_server_error(served, mode):
    schema = schemathesis.openapi.from_url(f"{served}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 8
    for operation in operations:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck),
            derandomize=True,
        )  # fmt: skip
        def ask(case: Any) -> None:
            case.call_and_validate(checks=[not_a_server_error])

        try:
            ask()
        except Unsatisfiable:  # nothing of what it takes can be wrong
            assert mode is GenerationMode.NEGATIVE
