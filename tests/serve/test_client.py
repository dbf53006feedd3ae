"""Requests over replicas that die, stand in as handles without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError

from serve.batching.jobs import (
    Accepted,
    AdapterRef,
    Done,
    Event,
    GenerateJob,
    Outcome,
    Refused,
    Text,
)
from serve.client import ATTEMPTS, ReplicaClient

JOB = GenerateJob(("hello",))
ACCEPTED, TEXT, DONE = Accepted(3), Text(0, "a"), Done(0, "a", 1, "stop")
DIED = ActorDiedError()


class Stream:
    """What a replica streams; an exception in it is raised there."""

    def __init__(self, parts: list[Any]) -> None:
        self._parts = parts
        self.cancelled = False

    async def __aiter__(self) -> AsyncGenerator[list[Event], None]:
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            yield [part]

    def cancel(self) -> None:
        self.cancelled = True
        for part in self._parts:  # as Ray does where a request never reached a replica
            if isinstance(part, BackPressureError):
                raise part


class Handle:
    """Answers with what a test lays down, one thing a call; exceptions are raised."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.streams: list[Stream] = []

    def options(self, **_: Any) -> Handle:
        return self

    def __getattr__(self, method: str) -> Handle:
        return self

    def remote(self, *_: Any) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, list):
            self.streams.append(Stream(answer))
            return self.streams[-1]
        return _given(answer)

    def broadcast(self, *_: Any) -> Handle:
        return self

    async def results_async(self, **_: Any) -> Any:
        return await _given(self._answers.pop(0))


async def _given(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def go(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 120))


async def all_of(client: ReplicaClient) -> list[Event]:
    return [event async for events in client.stream(JOB) for event in events]


def test_a_request_whose_replica_dies_is_given_to_another():
    outcome = Outcome(3, (DONE,))
    client = ReplicaClient(Handle(DIED, DIED, outcome))
    assert go(client.complete(JOB)) == outcome


def test_one_that_outlives_no_replica_is_refused_in_the_end():
    refused = go(ReplicaClient(Handle(*[DIED] * ATTEMPTS)).complete(JOB))
    assert refused.status == 503 and "ActorDiedError" in refused.message


@pytest.mark.parametrize("first", [[DIED], [ACCEPTED, DIED]])
def test_a_stream_begins_anew_as_long_as_it_has_no_text(first):
    handle = Handle(first, [ACCEPTED, TEXT, DONE])
    assert go(all_of(ReplicaClient(handle))) == [ACCEPTED, TEXT, DONE]
    assert all(stream.cancelled for stream in handle.streams)


def test_a_stream_that_has_text_ends_with_an_error():
    handle = Handle([ACCEPTED, TEXT, DIED], [ACCEPTED, TEXT, DONE])
    *told, last = go(all_of(ReplicaClient(handle)))
    assert told == [ACCEPTED, TEXT] and isinstance(last, Refused) and last.status == 503


def test_a_stream_for_which_there_is_no_room_is_one_refusal():
    (refused,) = go(all_of(ReplicaClient(Handle([BackPressureError(1, 1)]))))
    assert (refused.status, refused.code) == (503, "overloaded")


def test_no_room_is_a_503_and_not_tried_again():
    refused = go(ReplicaClient(Handle(BackPressureError(1, 1))).complete(JOB))
    assert (refused.status, refused.code) == (503, "overloaded")


@pytest.mark.parametrize(
    ("answer", "fine"),
    [
        ([None, None], True),
        ([None, DIED], True),
        ([DIED], False),
        ([None, RuntimeError("out of memory")], False),
        ([None, Refused(503, "damaged", "adapter_unavailable")], False),
        (DIED, False),
    ],
)
def test_an_adapter_is_prepared_where_every_living_replica_has_it(answer, fine):
    refused = go(ReplicaClient(Handle(answer)).prepare(AdapterRef("id", "a/b:1")))
    assert (refused is None) == fine
    if not fine and isinstance(answer, list) and len(answer) == 2:
        assert refused.message == "damaged" or "RuntimeError" in refused.message
