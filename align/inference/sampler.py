"""Picks the next token of each row, by that row's own parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from align.inference.sampling_ops import (
    draw,
    draw_few,
    draw_nucleus,
    drop_unlikely,
    likeliest,
    ranked,
    repeated,
    uniforms,
)
from align.inference.sampling_state import (
    LEAST_TOP_P,
    Kind,
    Picked,
    SamplingState,
    by_kind,
    is_plain,
)
from align.inference.types import GenerationRequest, TokenLogprobs


class Sampler:
    """The sampling parameters and the random stream of each decoding sequence.

    They apply in this order: `repetition_penalty`, `logit_bias` and the other penalties,
    `min_new_tokens`, temperature, min-p, top-k, top-p. That is vLLM's order, but for `logit_bias`,
    which vLLM adds before penalties; transformers has min-p last, which keeps the same tokens
    unless top-p is below 1. The draws of a seeded sequence depend only on its logits and its seed,
    not on the batch. It reads values back from the device within a step, which costs nothing on a
    CPU; a card has `CardSampler`.
    """

    def __init__(self, vocabulary: int, ends: frozenset[int], device: torch.device):
        """`ends` are the ids that end a turn, masked before a request's `min_new_tokens`."""
        self._vocabulary, self._ends, self._device = vocabulary, ends, device
        self._rows: dict[int, _Row] = {}
        self._scratch = Scratch(vocabulary, device)

    def add(self, sequence: int, request: GenerationRequest, index: int) -> None:
        """Register a sequence: completion `index` of the request, with seed `seed + index`."""
        if is_plain(request):
            return
        row = _Row(request, index)
        if request.min_new_tokens:
            early = row.early_ids(self._ends)
            row.early = torch.tensor(early, dtype=torch.long, device=self._device)
        self._rows[sequence] = row

    def drop(self, sequence: int) -> None:
        """Remove a sequence; no effect if it is not registered."""
        self._rows.pop(sequence, None)

    @torch.inference_mode()
    def pick(self, logits: Tensor, sequences: Sequence[int]) -> list[Picked]:
        """The next token of each sequence. `logits` (len(sequences), vocabulary) are not modified.

        A row with NaN logits gets an arbitrary token of the vocabulary; other rows are unaffected.
        """
        rows = {i: row for i, row in enumerate(map(self._rows.get, sequences)) if row is not None}
        if not rows:
            return [Picked(token, None) for token in likeliest(logits).tolist()]
        scores = self._scratch.room("scores", len(logits)).copy_(logits)
        counts = {
            i: row.request.logprobs for i, row in rows.items() if row.request.logprobs is not None
        }
        logs = _select(scores, list(counts)).log_softmax(-1) if counts else scores[:0]
        for i, row in rows.items():
            row.adjust(scores[i])
        tokens: list[int] = likeliest(scores).tolist()
        for i, token in self._drawn(scores, rows):
            tokens[i] = token
        logprobs = _logprobs(logs, tokens, counts)
        for i, row in rows.items():
            row.wrote(tokens[i])
        return [Picked(token, logprobs.get(i)) for i, token in enumerate(tokens)]

    def _drawn(self, scores: Tensor, rows: dict[int, _Row]) -> list[tuple[int, int]]:
        """(Row index, token) of each of `rows` (by row index) that samples."""
        return [
            pair
            for kind, indices in by_kind(rows, self._vocabulary).items()
            for pair in zip(indices, self._draw(kind, scores, indices, rows), strict=True)
        ]

    def _draw(
        self, kind: Kind, scores: Tensor, indices: list[int], rows: dict[int, _Row]
    ) -> list[int]:
        requests = [rows[i].request for i in indices]
        randoms = [rows[i].random for i in indices]
        temperature, top_p = torch.tensor(
            [[request.temperature, max(request.top_p, LEAST_TOP_P)] for request in requests],
            device=self._device,
        ).T
        scaled = self._scratch.room("heated", len(indices))
        torch.div(_select(scores, indices), temperature[:, None], out=scaled)
        weights = torch.softmax(scaled, -1, out=self._scratch.room("weights", len(indices)))
        if any(request.min_p for request in requests):
            min_p = torch.tensor([request.min_p for request in requests], device=self._device)
            drop_unlikely(weights, min_p)
        if kind == "all":
            tokens = draw(weights, uniforms(randoms, self._device))
        elif kind == "nucleus":
            tokens = draw_nucleus(weights, top_p, randoms, scratch=scaled)
        else:
            top_k = [request.top_k for request in requests]
            limits = torch.tensor(top_k, device=self._device)
            tokens = draw_few(weights, max(top_k), limits, top_p, uniforms(randoms, self._device))
        ids: list[int] = tokens.tolist()
        return ids


class Scratch:
    """Buffers (rows, vocabulary) in fp32 that are reused between steps.

    Freed memory of this size is returned to the system, and on a CPU mapping it again takes longer
    than the arithmetic of a step.
    """

    def __init__(self, vocabulary: int, device: torch.device):
        self._vocabulary, self._device = vocabulary, device
        self._rooms: dict[str, Tensor] = {}

    def room(self, name: str, rows: int) -> Tensor:
        """The buffer `name` as (rows, vocabulary), with unspecified values."""
        if name not in self._rooms or len(self._rooms[name]) < rows:
            self._rooms[name] = torch.empty(rows, self._vocabulary, device=self._device)
        return self._rooms[name][:rows]


class _Row(SamplingState):
    """The state of a sequence, with the tensors that change its logits."""

    early: Tensor | None = None  # ids masked until `min_new_tokens`
    _offset: Tensor | None = None  # (vocabulary,) bias and penalties, added to the logits
    _written = 0

    def adjust(self, scores: Tensor) -> None:
        """Change the row's logits (vocabulary,) in place."""
        if self.repeats:
            seen = torch.tensor(list(self.seen), device=scores.device)
            penalty = torch.tensor(self.request.repetition_penalty, device=scores.device)
            scores[seen] = repeated(scores[seen], penalty)
        if self.penalised or self.request.logit_bias:
            if self._offset is None:  # created late: it is large, and thousands may be queued
                self._offset = _biases(self.request, scores)
            scores += self._offset
        if self.early is not None:
            scores[self.early] = -torch.inf

    def wrote(self, token: int) -> None:
        self._written += 1
        if self._written >= self.request.min_new_tokens:
            self.early = None
        if self.repeats:
            self.seen[token] = None
        if self.penalised and self._offset is not None:
            self._offset[token] = self.offset_after(token)


def _biases(request: GenerationRequest, scores: Tensor) -> Tensor:
    biases = torch.zeros_like(scores)
    for token, bias in request.logit_bias.items():
        biases[token] = bias
    return biases


def _select(values: Tensor, indices: list[int]) -> Tensor:
    """The rows at ascending `indices`, without a copy if these are all rows."""
    if len(indices) == len(values):
        return values
    return values.index_select(0, torch.tensor(indices, device=values.device))


def _logprobs(logs: Tensor, tokens: list[int], counts: dict[int, int]) -> dict[int, TokenLogprobs]:
    """Logprobs of each row's token and of its likeliest tokens, by row index.

    `counts` has the number of likeliest tokens by row index; logs (len(counts), vocabulary).
    """
    if not counts:
        return {}
    chosen = torch.tensor([tokens[i] for i in counts], device=logs.device)
    values = logs.gather(-1, chosen[:, None])[:, 0].tolist()
    ids = ranked(logs, max(counts.values()))
    top_logprobs, top_ids = logs.gather(-1, ids).tolist(), ids.tolist()
    return {
        i: TokenLogprobs(value, tuple(zip(row_ids[:count], logprobs[:count], strict=True)))
        for (i, count), value, row_ids, logprobs in zip(
            counts.items(), values, top_ids, top_logprobs, strict=True
        )
    }
