"""Expected failures of serving; each message is for the person who reads it."""

from __future__ import annotations

from align.errors import AligneryError


class ExperimentError(AligneryError, ValueError):
    """An experiment that cannot be started or stopped as asked."""


class ExperimentNotFound(AligneryError, LookupError):
    """A name that no experiment has."""


class AnswerNotFound(AligneryError, LookupError):
    """A request id that belongs to no answer of an experiment."""


class AdapterLate(AligneryError, TimeoutError):
    """An adapter whose files take longer to come than a request should wait."""


class KeyNameError(AligneryError, ValueError):
    """An API key that cannot be made or found as asked."""


class AccessError(AligneryError, PermissionError):
    """A request that comes without the right key; `status` is 401 or 403."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ServeError(AligneryError, RuntimeError):
    """An endpoint that did not come up."""


class PortInUse(AligneryError, OSError):
    """A port that another program listens on."""
