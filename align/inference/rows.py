"""The rows of a batch: where each request stands, and how prompts lie together. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from align.inference.text import Decode, TextStream
from align.inference.types import Completion, GenerationRequest, OnText


class Row:
    """One request on its way: its tokens, its text, its end."""

    def __init__(self, request: GenerationRequest, decode: Decode):
        self._request = request
        self._stream = TextStream(decode, request.stop)
        self.completion = Completion()

    def take(self, row: int, token: int, end: set[int], on_text: OnText | None) -> bool:
        """Add a token; whether the row is done with it."""
        done = self.completion
        if token in end:
            done.finish_reason = "stop"
            fresh, over = self._stream.finish(), True
        else:
            done.token_ids.append(token)
            fresh = self._stream.add(token)
            over = self._stream.stopped or len(done.token_ids) >= self._request.max_new_tokens
            done.finish_reason = "stop" if self._stream.stopped else "length"
            fresh += self._stream.finish() if over else ""
        done.text = self._stream.text
        if on_text is not None and (fresh or over) and on_text(row, fresh) is False and not over:
            done.finish_reason, over = "cancelled", True
        return over


def similar_lengths(lengths: Sequence[int], size: int = 16) -> Iterator[list[int]]:
    """Indices in batches of similar length, so that little is computed on padding."""
    order = sorted(range(len(lengths)), key=lambda at: lengths[at])
    for start in range(0, len(order), size):
        yield order[start : start + size]


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many leading tokens all prompts share, the last one of each left out."""
    shortest = min(len(prompt) for prompt in prompts) - 1
    columns = enumerate(zip(*prompts, strict=False))
    return min(next((at for at, column in columns if len(set(column)) > 1), shortest), shortest)


def trailing(ids: Sequence[int], pad: int | None) -> int:
    """How many pad tokens end the sequence (all but its first token may be)."""
    count = 0
    while pad is not None and count < len(ids) - 1 and ids[-1 - count] == pad:
        count += 1
    return count
