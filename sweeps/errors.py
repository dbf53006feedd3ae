"""Expected failures of sweeps; each message is for the person who reads it."""

from __future__ import annotations

from align.errors import AligneryError


class SweepError(AligneryError, RuntimeError):
    """A sweep that cannot start, or that ended without a result."""


class SweepLocked(SweepError):
    """A sweep that another process is driving."""


class SweepNotFound(AligneryError, LookupError):
    """A line that was never searched."""
