"""Compute logits once, and only for positions with a loss, on machines without Triton.

With Triton, TRL's fused head scores only completion tokens. Without it, the head scores every
position, padding included. Its backward pass computes the logits again. TRL's compact form is plain
torch, and `align.compat.lm_head` computes the logits once. The losses are the same
(tests/align/compat/test_trl_logits.py compares them), so both are used during a training run.

Written for TRL 1.16, whose choice between both forms and whose head are private names without an
option. No public request is known; what is wanted is an option of the trainers for the compact form
on machines without Triton.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trl.trainer.utils

from align.compat.attributes import replaced
from align.compat.lm_head import LogProbabilities


@contextmanager
def compact_logits() -> Iterator[None]:
    """Make TRL compute logits only for positions with a label, and only once."""
    trl_utils = trl.trainer.utils
    with (
        replaced(trl_utils, "_use_triton", lambda device: True),
        replaced(trl_utils, "_ChunkedLogProbFunction", LogProbabilities),
    ):
        yield
