"""Another function in place of transformers' `sdpa` attention, for the duration of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface

#: An attention function of transformers.
Attention = Callable[..., tuple[torch.Tensor, None]]

_SDPA = "sdpa"


@contextmanager
def wrapped_sdpa(wrap: Callable[[Attention], Attention]) -> Iterator[None]:
    """Register what `wrap` makes of the present `sdpa` function within the block.

    The name stays, so that masks are made as for `sdpa`.
    """
    original: Any = AttentionInterface()[_SDPA]
    AttentionInterface.register(_SDPA, wrap(original))
    try:
        yield
    finally:
        AttentionInterface.register(_SDPA, original)
