"""A replica that fails its own card when it is told to, as a faulty kernel would."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any, cast

from ray import serve

from serve.app import EngineReplica
from serve.batching.jobs import Event, GenerateJob, Job

#: The message that fails the card of the replica that gets it.
FATAL = "alignery gpu check: fail the card"

#: The class beneath; to mypy the deployment is that class.
_Replica: Any = cast(Any, EngineReplica).func_or_class


def is_fatal(job: Job) -> bool:
    """Whether the job is the message that fails the card."""
    if not isinstance(job, GenerateJob):
        return False
    chats = [prompt for prompt in job.prompts if not isinstance(prompt, str)]
    return any(turn.get("content") == FATAL for chat in chats for turn in chat)


def fail_card() -> None:
    """Run a kernel that meets a device-side assertion, and raise torch's error of it.

    Without a card only the error is raised, which the replica takes for that of a card.
    """
    import torch

    if not torch.cuda.is_available():
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")
    torch.zeros(1, device="cuda")[torch.tensor([9], device="cuda")]
    torch.cuda.synchronize()


@serve.deployment(max_constructor_retry_count=1)
class FragileReplica(_Replica):  # type: ignore[misc]
    """`EngineReplica`, except that the message FATAL fails its card before it is answered."""

    async def process(self) -> int:
        """The number of its process: another one after it was replaced."""
        return os.getpid()

    async def stream(self, job: Job) -> AsyncGenerator[list[Event], None]:
        """See `Worker.stream`."""
        if is_fatal(job):
            await self._loop.call(fail_card)
        async for events in super().stream(job):
            yield events
