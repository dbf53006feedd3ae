"""Picking the next token of each row, by that row's own parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from align.inference.sampling_ops import draw, draw_few, draw_nucleus, likeliest, ranked
from align.inference.types import GenerationRequest, TokenLogprobs

#: Below it, dividing by the temperature could overflow; the likeliest token is then all there is.
COLDEST = 1e-5

_Kind = Literal["all", "nucleus", "few"]  # what a row draws from


class Picked(NamedTuple):
    """A row's next token, and its log-probabilities where the request wants them."""

    token: int
    logprobs: TokenLogprobs | None


class Sampler:
    """The parameters of all sequences that write, and each one's own random stream.

    In the field's order: `logit_bias` and penalties, `min_new_tokens`, temperature, top-k, top-p.
    What a seeded sequence draws depends on its logits and its seed alone, not on its neighbours.
    """

    def __init__(self, vocabulary: int, ends: frozenset[int], device: torch.device):
        """`ends` are the ids that end a turn: impossible before a request's `min_new_tokens`."""
        self._vocabulary, self._ends, self._device = vocabulary, ends, device
        self._rows: dict[int, _Row] = {}
        self._scratch = _Scratch(vocabulary, device)

    def add(self, sequence: int, request: GenerationRequest, index: int) -> None:
        """Know a sequence: completion `index` of the request, whose seed is `seed + index`."""
        if _plain(request):
            return
        row = _Row(request, index)
        if request.min_new_tokens:
            early = {*request.stop_ids, *(() if request.ignore_eos else self._ends)}
            row.early = torch.tensor(sorted(early), dtype=torch.long, device=self._device)
        self._rows[sequence] = row

    def drop(self, sequence: int) -> None:
        """Forget a sequence; nothing if it is not known."""
        self._rows.pop(sequence, None)

    @torch.inference_mode()
    def pick(self, logits: Tensor, sequences: Sequence[int]) -> list[Picked]:
        """The next token of each sequence. `logits` (len(sequences), vocabulary), left as they are.

        A row whose logits hold a NaN gets some token of the vocabulary, its neighbours theirs.
        """
        rows = {at: row for at, row in enumerate(map(self._rows.get, sequences)) if row is not None}
        if not rows:
            return [Picked(token, None) for token in likeliest(logits).tolist()]
        scores = self._scratch.room("scores", len(logits)).copy_(logits)
        wanted = {
            at: row.request.logprobs for at, row in rows.items() if row.request.logprobs is not None
        }
        logs = _select(scores, list(wanted)).log_softmax(-1) if wanted else scores[:0]
        for at, row in rows.items():
            row.adjust(scores[at])
        tokens: list[int] = likeliest(scores).tolist()
        for at, token in self._drawn(scores, rows):
            tokens[at] = token
        found = _logprobs(logs, tokens, wanted)
        for at, row in rows.items():
            row.wrote(tokens[at])
        return [Picked(token, found.get(at)) for at, token in enumerate(tokens)]

    def _drawn(self, scores: Tensor, rows: dict[int, _Row]) -> list[tuple[int, int]]:
        """Place and token of those of `rows` (by place) that sample."""
        kinds: dict[_Kind, list[int]] = {}
        for at, row in rows.items():
            if row.samples:
                kinds.setdefault(_kind(row.request, self._vocabulary), []).append(at)
        return [
            pair
            for kind, places in kinds.items()
            for pair in zip(places, self._draw(kind, scores, places, rows), strict=True)
        ]

    def _draw(
        self, kind: _Kind, scores: Tensor, places: list[int], rows: dict[int, _Row]
    ) -> list[int]:
        requests = [rows[at].request for at in places]
        randoms = [rows[at].random for at in places]
        # The likeliest of a vocabulary has more than 1e-9: below that top_p only loses digits.
        heat, top_p = torch.tensor(
            [[one.temperature, max(one.top_p, 1e-9)] for one in requests], device=self._device
        ).T
        heated = self._scratch.room("heated", len(places))
        torch.div(_select(scores, places), heat[:, None], out=heated)
        weights = torch.softmax(heated, -1, out=self._scratch.room("weights", len(places)))
        if kind == "all":
            tokens = draw(weights, randoms)
        elif kind == "nucleus":
            tokens = draw_nucleus(weights, top_p, randoms, scratch=heated)
        else:
            tokens = draw_few(weights, [one.top_k for one in requests], top_p, randoms)
        ids: list[int] = tokens.tolist()
        return ids


class _Scratch:
    """Room for (rows, vocabulary) in fp32 that is kept between steps.

    The system takes memory of this size back when it is freed, and on a CPU having it mapped
    again costs more than all arithmetic of a step.
    """

    def __init__(self, vocabulary: int, device: torch.device):
        self._vocabulary, self._device = vocabulary, device
        self._rooms: dict[str, Tensor] = {}

    def room(self, name: str, rows: int) -> Tensor:
        """(rows, vocabulary), whatever it held before."""
        if name not in self._rooms or len(self._rooms[name]) < rows:
            self._rooms[name] = torch.empty(rows, self._vocabulary, device=self._device)
        return self._rooms[name][:rows]


class _Row:
    """One sequence that needs more than the likeliest token."""

    def __init__(self, request: GenerationRequest, index: int):
        self.request = request
        self.samples = request.temperature >= COLDEST
        self._penalised = request.presence_penalty != 0 or request.frequency_penalty != 0
        # Random takes an int's absolute value: -1 and 1 would be one stream.
        self.random = Random(None if request.seed is None else (request.seed + index) % 2**64)
        self.early: Tensor | None = None  # ids that may not come yet
        self._offset: Tensor | None = None  # (vocabulary,) bias and penalties, added to the logits
        self._counts: Counter[int] = Counter()
        self._written = 0

    def adjust(self, scores: Tensor) -> None:
        """Change the row's logits (vocabulary,) in place."""
        if self._penalised or self.request.logit_bias:
            if self._offset is None:  # not sooner: it is large, and thousands may be waiting
                self._offset = _biases(self.request, scores)
            scores += self._offset
        if self.early is not None:
            scores[self.early] = -torch.inf

    def wrote(self, token: int) -> None:
        self._written += 1
        if self._written >= self.request.min_new_tokens:
            self.early = None
        if self._penalised and self._offset is not None:
            request = self.request
            self._counts[token] += 1
            penalty = request.presence_penalty + request.frequency_penalty * self._counts[token]
            self._offset[token] = request.logit_bias.get(token, 0.0) - penalty


def _biases(request: GenerationRequest, scores: Tensor) -> Tensor:
    biases = torch.zeros_like(scores)
    for token, bias in request.logit_bias.items():
        biases[token] = bias
    return biases


def _plain(request: GenerationRequest) -> bool:
    """Whether the likeliest token is always the one, and nothing else is asked for."""
    return (
        request.temperature < COLDEST
        and request.presence_penalty == 0
        and request.frequency_penalty == 0
        and not request.logit_bias
        and request.min_new_tokens == 0
        and request.logprobs is None
    )


def _kind(request: GenerationRequest, vocabulary: int) -> _Kind:
    if 0 < request.top_k < vocabulary:
        return "few"
    return "nucleus" if request.top_p < 1 else "all"


def _select(values: Tensor, places: list[int]) -> Tensor:
    """The rows at ascending `places`; all of them are not copied."""
    if len(places) == len(values):
        return values
    return values.index_select(0, torch.tensor(places, device=values.device))


def _logprobs(logs: Tensor, tokens: list[int], wanted: dict[int, int]) -> dict[int, TokenLogprobs]:
    """By place: the row's token's and the `wanted` likeliest ones'; logs (wanted, vocabulary)."""
    if not wanted:
        return {}
    chosen = torch.tensor([tokens[at] for at in wanted], device=logs.device)
    values = logs.gather(-1, chosen[:, None])[:, 0].tolist()
    ids = ranked(logs, max(wanted.values()))
    best, names = logs.gather(-1, ids).tolist(), ids.tolist()
    return {
        at: TokenLogprobs(value, tuple(zip(some[:count], logprobs[:count], strict=True)))
        for (at, count), value, some, logprobs in zip(
            wanted.items(), values, names, best, strict=True
        )
    }
