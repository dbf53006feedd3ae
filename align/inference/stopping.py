"""A completion in progress and its stopping conditions. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from align.inference.detokenizer import TextStream
from align.inference.sampling_state import Picked
from align.inference.token_bytes import TextBytes
from align.inference.types import Completion, FinishReason, GenerationRequest

if TYPE_CHECKING:
    from align.base import Base  # imports torch, which this module must not


class Written:
    """Collects a completion token by token.

    It ends at the end of turn (unless `ignore_eos`), at a stop id, at a stop string, or after
    `max_new_tokens`. `completion` grows with each token; its text is the text released so far. With
    `streamed` False and no stop strings, all text is released at the end, which is cheaper.
    """

    def __init__(
        self,
        request: GenerationRequest,
        raw: TextBytes,
        ends: frozenset[int],
        streamed: bool = True,
    ):
        self._request = request
        self._ends = frozenset(request.stop_ids) | (frozenset() if request.ignore_eos else ends)
        self._stream = TextStream(raw, request.stop, lazy=not (streamed or request.stop))
        self.completion = Completion()

    def take(self, picked: Picked) -> tuple[str, bool]:
        """Add a token; return the text that became final and whether the completion has ended."""
        completion = self.completion
        if picked.logprobs is not None:
            completion.logprobs.append(picked.logprobs)
        if picked.token in self._ends:
            completion.ended = picked.token
            return self._finish("stop"), True
        completion.token_ids.append(picked.token)
        count = len(completion.token_ids)
        text = self._stream.add(picked.token, may_stop=count >= self._request.min_new_tokens)
        if self._stream.stopped:
            return text + self._finish("stop"), True
        if count >= self._request.max_new_tokens:
            return text + self._finish("length"), True
        completion.text += text
        return text, False

    def cancel(self) -> str:
        """End the completion; return the text that was still held back."""
        return self._finish("cancelled")

    def _finish(self, reason: FinishReason) -> str:
        text = self._stream.finish()
        self.completion.text = self._stream.text
        self.completion.finish_reason = reason
        return text


def end_tokens(base: Base) -> frozenset[int]:
    """The ids that end a turn: those of the generation config and of the tokenizer."""
    eos = base.model.generation_config.eos_token_id
    tokens = eos if isinstance(eos, list) else [eos]
    return frozenset(token for token in (*tokens, base.tokenizer.eos_token_id) if token is not None)
