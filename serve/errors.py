"""Expected failures of serving; each message is for the person who reads it."""

from __future__ import annotations

from align.errors import AligneryError


class ExperimentError(AligneryError, ValueError):
    """An experiment that cannot be started or stopped as asked."""


class ExperimentNotFound(AligneryError, LookupError):
    """There is no experiment of this name."""


class AnswerNotFound(AligneryError, LookupError):
    """No answer of an experiment has this request id."""


class AdapterLate(AligneryError, TimeoutError):
    """An adapter whose files take longer to fetch than a request may wait."""


class KeyNameError(AligneryError, ValueError):
    """An API key that cannot be created, or is not found."""


class AccessError(AligneryError, PermissionError):
    """A request without a valid key; `status` is 401 or 403."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ServeError(AligneryError, RuntimeError):
    """An endpoint that cannot be configured, started, reached or stopped."""


class PortInUse(AligneryError, OSError):
    """A port that another program listens on."""
