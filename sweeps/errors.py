"""Expected errors of sweeps; their messages are written for users."""

from __future__ import annotations

from align.errors import AligneryError


class SweepError(AligneryError, RuntimeError):
    """The sweep cannot start, or ended without a result."""


class SweepLocked(SweepError):
    """Another process is driving the sweep."""


class SweepPaused(SweepError):
    """The sweep was paused on request; `alignery sweep resume` continues it."""

    def __init__(self, name: str) -> None:
        """`name` is the argument that `alignery sweep resume` takes."""
        super().__init__(
            f"sweep {name} is paused, nothing measured is lost; go on with "
            f"`alignery sweep resume {name}`"
        )
        self.name = name

    def __reduce__(self) -> tuple[type[SweepPaused], tuple[str]]:
        return SweepPaused, (self.name,)


class SweepNotFound(AligneryError, LookupError):
    """The line was never searched."""
