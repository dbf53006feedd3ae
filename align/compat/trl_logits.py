"""Logits only where a loss needs them and only once, on machines without Triton.

TRL's fused head scores only completion tokens where Triton is at hand, and every position,
padding included, elsewhere; and its backward pass computes the logits again. The compact form is
plain torch, `align.training.lm_head` computes them once, and the losses are the same
(tests/align/test_compact.py compares them), so both are switched on for the time of a training run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import trl.trainer.utils

from align.training.lm_head import LogProbabilities


@contextmanager
def compact_logits() -> Iterator[None]:
    """Make TRL project only the positions that carry a label, and each of them once."""
    # Private names of the pinned TRL: `patch` raises if an update removes one.
    trl_utils = trl.trainer.utils
    with (
        patch.object(trl_utils, "_use_triton", lambda device: True),
        patch.object(trl_utils, "_ChunkedLogProbFunction", LogProbabilities),
    ):
        yield
