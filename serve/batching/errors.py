"""Reasons why a job is refused, as the HTTP status and message that its client gets."""

from __future__ import annotations

import logging
import re

from jinja2 import TemplateError

from align.errors import AligneryError, GpuLost, RequestError
from serve.batching.jobs import Refused

#: Errors about a field of the request begin with its name.
_NAMED = re.compile(r"([a-z_]+): ")
_log = logging.getLogger("ray.serve")


def refused_by(error: Exception) -> Refused:
    """The refusal for an error that a job has met. Unexpected errors are logged."""
    if isinstance(error, GpuLost):
        return failed(error)
    if isinstance(error, RequestError):
        named = _NAMED.match(str(error))
        return Refused(400, str(error), "invalid_value", named and named[1])
    if isinstance(error, AligneryError):
        return Refused(503, f"the adapter cannot be used: {error}", "adapter_unavailable")
    if isinstance(error, TemplateError):
        message = f"the base's chat template cannot render these messages: {error}"
        return Refused(400, message, "invalid_value", "messages")
    _log.error("a job failed", exc_info=error)
    return failed(error)


def failed(error: Exception) -> Refused:
    """The engine failed while it worked on the job."""
    if isinstance(error, GpuLost):  # Ray Serve replaces the replica, so the client may try again
        return Refused(503, f"the engine was lost: {error}; try again soon", "engine_lost")
    return Refused(500, f"generation failed: {type(error).__name__}: {error}", "generation_failed")


def lost(error: Exception) -> Refused:
    """The replica that worked on the job died, and a retry was impossible or failed, too."""
    return Refused(503, f"the engine was lost: {type(error).__name__}; try again", "engine_lost")


def no_room(error: Exception) -> Refused:
    """No replica accepts the job at present."""
    message = f"no engine takes this request now: {type(error).__name__}; try again soon"
    return Refused(503, message, "overloaded")


def overloaded(waiting: int) -> Refused:
    """The queue is full: `waiting` completions are waiting already."""
    return Refused(503, f"{waiting} completions are waiting already; try again soon", "overloaded")


def too_many(rows: int, most: int) -> Refused:
    """The job has more rows than a replica can ever accept at once."""
    message = (
        f"{rows} completions are asked for at once, and at most {most} are taken; ask in parts"
    )
    return Refused(400, message, "invalid_value", "n")


def too_long(tokens: int, wanted: int | None, context: int, param: str) -> Refused:
    """The prompt and the `wanted` completion tokens together exceed the context."""
    completion = f" and {wanted} more are asked for" if wanted else ""
    return Refused(
        400,
        f"this endpoint's context is {context} tokens, but the prompt has {tokens}{completion}; "
        "shorten the prompt or lower max_tokens",
        "context_length_exceeded",
        param,
    )


def too_few(least: int, most: int) -> Refused:
    """`min_tokens` is larger than `max_tokens`."""
    message = (
        f"min_tokens is {least}, and max_tokens allows {most}; lower the one or raise the other"
    )
    return Refused(400, message, "invalid_value", "min_tokens")
