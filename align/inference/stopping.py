"""One completion on its way, and when it is over. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from align.inference.detokenizer import Decode, TextStream
from align.inference.types import Completion, FinishReason, GenerationRequest

if TYPE_CHECKING:
    from align.inference.sampler import Picked  # imports torch, which this module must not


class Written:
    """What has been written of one completion, token by token.

    It is over at the end of turn (unless `ignore_eos`), a stop id, a stop string, or after
    `max_new_tokens`. `completion` grows with it; its text is what has been released so far. With
    `streamed` False all text comes at the end where the request has no stop strings, which is
    cheaper.
    """

    def __init__(
        self,
        request: GenerationRequest,
        decode: Decode,
        ends: frozenset[int],
        streamed: bool = True,
    ):
        self._request = request
        self._ends = frozenset(request.stop_ids) | (frozenset() if request.ignore_eos else ends)
        self._stream = TextStream(decode, request.stop, lazy=not (streamed or request.stop))
        self.completion = Completion()

    def take(self, picked: Picked) -> tuple[str, bool]:
        """Add a token: the text that became final with it, and whether that was the last one."""
        done = self.completion
        if picked.logprobs is not None:
            done.logprobs.append(picked.logprobs)
        if picked.token in self._ends:
            done.ended = picked.token
            return self._finish("stop"), True
        done.token_ids.append(picked.token)
        count = len(done.token_ids)
        fresh = self._stream.add(picked.token, may_stop=count >= self._request.min_new_tokens)
        if self._stream.stopped:
            return fresh + self._finish("stop"), True
        if count >= self._request.max_new_tokens:
            return fresh + self._finish("length"), True
        done.text += fresh
        return fresh, False

    def cancel(self) -> str:
        """End it here; the text that was still held back."""
        return self._finish("cancelled")

    def _finish(self, reason: FinishReason) -> str:
        held = self._stream.finish()
        self.completion.text = self._stream.text
        self.completion.finish_reason = reason
        return held
