"""What a process may use of a GPU: which cards it sees, and how much of their memory it takes."""

from __future__ import annotations

import os

from align.cpu_features import limit_instructions
from align.gpu_cards import CONTEXT

#: The variable by which CUDA hides cards from a process. CUDA reads it once, at its first call.
VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Variables that configure torch's allocator (2.13); the second has precedence on CUDA.
ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
#: Segments that grow leave no gaps between the blocks of sequences of different lengths. CUDA
#: graphs have such segments, too.
_SEGMENTS = "expandable_segments:True"


def prepare_process(share: float) -> None:
    """Set this process's environment for `share` of a GPU. To be called before torch is imported.

    With 0 the process sees no card: Ray 2.60 hides cards only from processes that claim others.
    Else it sees a single card, since with several a trainer would split each batch over all, and
    torch's allocator gets expandable segments, unless the user has configured it. ALIGNERY_CPU
    limits the processor's instructions.
    """
    limit_instructions()
    if share <= 0:
        os.environ[VISIBLE] = ""
        return
    os.environ[VISIBLE] = os.environ.get(VISIBLE, "0").partition(",")[0]
    if not any(name in os.environ for name in ALLOCATOR):
        os.environ[ALLOCATOR[0]] = _SEGMENTS


def limit_memory(share: float = 1.0, card_memory: int | None = None) -> None:
    """Limit the bytes that torch may allocate on the current card, less CUDA's context.

    The limit is the smallest of `share` of the card, of `card_memory` (the memory of an emulated
    card), and of what an earlier call has set. Ray only counts fractions of a GPU and does not
    enforce them. Does nothing for a whole card that emulates no other, or where there is no CUDA.
    """
    import torch

    if (share >= 1 and card_memory is None) or not torch.cuda.is_available():
        return
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    fraction = tensor_fraction(total, share, card_memory)
    earlier = torch.cuda.get_per_process_memory_fraction()
    torch.cuda.set_per_process_memory_fraction(min(earlier, fraction))


def tensor_fraction(total: int, share: float = 1.0, card_memory: int | None = None) -> float:
    """The fraction of a card's `total` bytes for tensors: the smaller limit less the context."""
    allowed = share * total if card_memory is None else min(share * total, card_memory)
    return max(0.0, (allowed - CONTEXT) / total)
