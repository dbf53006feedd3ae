"""A sequence in an engine, and what the model computes for it next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from align.inference.loaded_adapters import LoadedAdapter
from align.inference.modeling.model import Reading, Writing
from align.inference.prompt_scoring import Read
from align.inference.scheduling.plan import Chunk
from align.inference.scheduling.sequence import Sequence as Scheduled
from align.inference.stopping import Written
from align.inference.types import GenerationRequest


@dataclass(frozen=True)
class LiveSequence:
    """The state of a sequence between `submit` and its end."""

    scheduled: Scheduled
    written: Written
    request: GenerationRequest
    read: Read

    def reading(self, chunk: Chunk, bank: int) -> Reading:
        """A chunk of the prompt, with the adapter in bank slot `bank`."""
        assert self.scheduled.slot is not None
        tokens = self.scheduled.prompt[chunk.start : chunk.start + chunk.count]
        return Reading(tokens, self.scheduled.slot, chunk.start, bank)

    def take(
        self, chunk: Chunk, hidden: torch.Tensor, logits: Callable[[torch.Tensor], torch.Tensor]
    ) -> bool:
        """Process the hidden states of a chunk; return whether it completes the prompt."""
        completion = self.written.completion
        self.read.take(chunk.start, hidden, completion, logits)
        complete = chunk.start + chunk.count == len(self.scheduled.prompt)
        if complete:
            completion.cached_tokens = self.scheduled.cached
        return complete

    def writing(self, bank: int, unread: int = 0) -> Writing:
        """The next row of decoding; `unread` tokens, 0 or 1, follow those that are known."""
        scheduled = self.scheduled
        assert scheduled.slot is not None
        position = len(scheduled.prompt) + len(scheduled.tokens) + unread - 1
        return Writing(0 if unread else scheduled.tokens[-1], scheduled.slot, position, bank)


def start(
    identity: int,
    request: GenerationRequest,
    adapter: LoadedAdapter | None,
    written: Written,
    reuse: bool,
) -> LiveSequence:
    """A new sequence; without `reuse` it takes no keys and values from others."""
    prompt = tuple(request.prompt_ids)
    read = Read(prompt, request, None if adapter is None else adapter.head)
    scheduled = Scheduled(
        id=identity,
        adapter=0 if adapter is None else adapter.key,
        prompt=prompt,
        max_new_tokens=request.max_new_tokens,
        reusable=read.first if reuse else 0,
    )
    return LiveSequence(scheduled, written, request, read)
