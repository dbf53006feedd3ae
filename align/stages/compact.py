"""Logits only where a loss needs them, on machines without Triton.

TRL's fused head scores only completion tokens where Triton is at hand, and every position,
padding included, elsewhere. The compact form is plain torch and gives the same losses
(tests/align/test_compact.py compares them), so it is switched on for the time of a training run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import trl.trainer.utils


@contextmanager
def compact_logits() -> Iterator[None]:
    """Make TRL project only the positions that carry a label."""
    # A private name of the pinned TRL: `patch` raises if an update removes it.
    with patch.object(trl.trainer.utils, "_use_triton", lambda device: True):
        yield
