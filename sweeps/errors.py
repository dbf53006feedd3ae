"""Expected failures of sweeps; each message is for the person who reads it."""

from __future__ import annotations

from align.errors import AligneryError


class SweepError(AligneryError, RuntimeError):
    """A sweep that cannot start, or that ended without a result."""


class SweepLocked(SweepError):
    """A sweep that another process is driving."""


class SweepPaused(SweepError):
    """A sweep that was asked to pause: what it has begun goes on with `alignery sweep resume`."""

    def __init__(self, name: str) -> None:
        """`name` is what the command takes."""
        super().__init__(
            f"sweep {name} is paused, nothing measured is lost; go on with "
            f"`alignery sweep resume {name}`"
        )
        self.name = name

    def __reduce__(self) -> tuple[type[SweepPaused], tuple[str]]:
        return SweepPaused, (self.name,)


class SweepNotFound(AligneryError, LookupError):
    """A line that was never searched."""
