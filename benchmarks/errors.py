"""What can go wrong with a benchmark and be mended by a person."""

from __future__ import annotations

from align.errors import AligneryError


class BenchmarkError(AligneryError, RuntimeError):
    """A benchmark that cannot run as asked, or whose outputs are wrong."""
