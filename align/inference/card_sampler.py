"""Picks the next tokens on a card, with one transfer each way a step."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from align.inference.nucleus import draw_nucleus_at_once
from align.inference.sampler import Sampler, Scratch
from align.inference.sampling_ops import draw, draw_few, drop_unlikely, ranked, repeated
from align.inference.sampling_state import (
    LEAST_TOP_P,
    Kind,
    Picked,
    SamplingState,
    by_kind,
    is_plain,
)
from align.inference.transfers import Bundle, Download
from align.inference.types import GenerationRequest, TokenLogprobs


class CardSampler:
    """As `Sampler`, without waiting for the device between the logits and the tokens.

    The parameters of a step are sent together, its tokens and log-probabilities are read together,
    and no operation is queued row by row. The tokens are those of `Sampler`, except that a draw of
    which `Sampler` rejects the first token, outside the nucleus, may give another token of the
    nucleus (`nucleus.draw_nucleus_at_once`).
    """

    def __init__(self, vocabulary: int, ends: frozenset[int], device: torch.device):
        """`ends` are the ids that end a turn, masked before a request's `min_new_tokens`."""
        self._vocabulary, self._ends, self._device = vocabulary, ends, device
        self._rows: dict[int, _Row] = {}
        self._scratch = Scratch(vocabulary, device)

    def add(self, sequence: int, request: GenerationRequest, index: int) -> None:
        """Register a sequence: completion `index` of the request, with seed `seed + index`."""
        if not is_plain(request):
            self._rows[sequence] = _Row(request, index, self._ends)

    def drop(self, sequence: int) -> None:
        """Remove a sequence; no effect if it is not registered."""
        self._rows.pop(sequence, None)

    def needs_token(self, sequence: int) -> bool:
        """Whether the next token of a sequence depends on the last by more than its logits."""
        row = self._rows.get(sequence)
        return row is not None and row.needs_last

    def pick(self, logits: Tensor, sequences: Sequence[int]) -> list[Picked]:
        """The next token of each sequence, as `Sampler.pick`."""
        return self.launch(logits, sequences).read()

    @torch.inference_mode()
    def launch(self, logits: Tensor, sequences: Sequence[int]) -> SamplingLaunch:
        """Queue the work of `pick`; the host waits for the device only in `SamplingLaunch.read`."""
        rows = {i: row for i, row in enumerate(map(self._rows.get, sequences)) if row is not None}
        if not rows:
            return SamplingLaunch(logits.argmax(-1), rows, None)
        kinds = by_kind(rows, self._vocabulary)
        sent = _parameters(rows, kinds, self._vocabulary)
        sent.send(self._device)
        scores = self._scratch.room("scores", len(logits)).copy_(logits)
        logs = _select(scores, sent.ints("logged")).log_softmax(-1) if "logged" in sent else None
        flat = scores.view(-1)
        if "seen places" in sent:
            places = sent.ints("seen places")
            penalised = repeated(flat.index_select(0, places), sent.floats("repetition"))
            flat.index_copy_(0, places, penalised)
        if "offsets" in sent:
            flat.index_add_(0, sent.ints("offset places"), sent.floats("offsets"))
        if "early places" in sent:
            flat.index_fill_(0, sent.ints("early places"), -torch.inf)
        tokens = scores.argmax(-1)
        for kind, indices in kinds.items():
            most = max(rows[i].request.top_k for i in indices)
            drawn = self._draw(kind, scores, sent, most)
            tokens.index_copy_(0, sent.ints(f"{kind} rows"), drawn)
        for row in rows.values():
            row.launched += 1
        chosen = None if logs is None else tokens.index_select(0, sent.ints("logged"))
        return SamplingLaunch(tokens, rows, logs, chosen)

    def _draw(self, kind: Kind, scores: Tensor, sent: Bundle, most: int) -> Tensor:
        """A token of each row of a kind; `most` is the largest `top_k` of these."""
        chosen = _select(scores, sent.ints(f"{kind} rows"))
        scaled = self._scratch.room("heated", len(chosen))
        torch.div(chosen, sent.floats(f"{kind} temperature")[:, None], out=scaled)
        weights = torch.softmax(scaled, -1, out=self._scratch.room("weights", len(chosen)))
        if f"{kind} min_p" in sent:
            drop_unlikely(weights, sent.floats(f"{kind} min_p"))
        top_p, shares = sent.floats(f"{kind} top_p"), sent.doubles(f"{kind} shares")
        if kind == "all":
            return draw(weights, shares)
        if kind == "nucleus":
            return draw_nucleus_at_once(weights, top_p, shares, sent.doubles("spare shares"))
        return draw_few(weights, most, sent.ints("top_k"), top_p, shares)


class SamplingLaunch:
    """A step whose work is queued; `tokens` (rows,) are on the device."""

    def __init__(
        self,
        tokens: Tensor,
        rows: Mapping[int, _Row],
        logs: Tensor | None = None,
        chosen: Tensor | None = None,
    ):
        """`rows` by row index. `logs` (logged rows, vocabulary) and `chosen` (logged rows,), their
        tokens, are of the rows that want log-probabilities.
        """
        self.tokens, self._rows = tokens, rows
        self._counts = {
            i: row.request.logprobs for i, row in rows.items() if row.request.logprobs is not None
        }
        self._width = 0
        parts = [tokens]
        if logs is not None and chosen is not None:
            ids = ranked(logs, max(self._counts.values()))
            self._width = ids.shape[-1]
            values = logs.gather(-1, torch.cat([chosen[:, None], ids], -1))
            parts = [part.double().flatten() for part in (tokens, values, ids)]
        self._download = Download(parts[0] if len(parts) == 1 else torch.cat(parts))

    def read(self) -> list[Picked]:
        """Wait for the tokens, and count them in the penalties of their sequences."""
        values, count, width = self._download.wait(), len(self.tokens), self._width
        tokens = [int(token) for token in values[:count].tolist()]
        for i, row in self._rows.items():
            row.wrote(tokens[i])
        middle = count + len(self._counts) * (width + 1)
        logs = values[count:middle].view(-1, width + 1).tolist()
        ids = values[middle:].view(-1, width).tolist() if width else [[]] * len(logs)
        logprobs = {
            i: _token_logprobs(*parts)
            for i, parts in zip(
                self._counts, zip(logs, ids, self._counts.values(), strict=True), strict=True
            )
        }
        return [Picked(token, logprobs.get(i)) for i, token in enumerate(tokens)]


class _Row(SamplingState):
    """The state of a sequence; what is added to logits is in arrays, which are sent quickly."""

    def __init__(self, request: GenerationRequest, index: int, ends: frozenset[int]):
        super().__init__(request, index)
        self.launched = 0
        self.offset_ids, self.offsets = array("d"), array("d")
        self._places: dict[int, int] = {}
        self._early = self.early_ids(ends)
        for token, bias in request.logit_bias.items():
            self._set_offset(token, bias)

    @property
    def early(self) -> list[int]:
        """Ids that the next token may not be."""
        return self._early if self.launched < self.request.min_new_tokens else []

    def wrote(self, token: int) -> None:
        """Count a sampled token."""
        if self.repeats:
            self.seen[token] = None
        if self.penalised:
            self._set_offset(token, self.offset_after(token))

    def _set_offset(self, token: int, offset: float) -> None:
        place = self._places.setdefault(token, len(self._places))
        if place == len(self.offsets):
            self.offset_ids.append(token)
            self.offsets.append(offset)
        else:
            self.offsets[place] = offset


def _parameters(
    rows: Mapping[int, _Row], kinds: Mapping[Kind, list[int]], vocabulary: int
) -> Bundle:
    """The numbers of a step, by name. Places are those of logits (rows, vocabulary), flattened."""
    sent = Bundle()
    for kind, indices in kinds.items():
        states = [rows[i] for i in indices]
        sent.put(f"{kind} rows", indices)
        sent.put(f"{kind} temperature", [row.request.temperature for row in states])
        sent.put(f"{kind} top_p", [max(row.request.top_p, LEAST_TOP_P) for row in states])
        if any(row.request.min_p for row in states):
            sent.put(f"{kind} min_p", [row.request.min_p for row in states])
        sent.put(f"{kind} shares", [row.random.random() for row in states])
        if kind == "nucleus":
            sent.put("spare shares", [row.spare_random.random() for row in states])
        elif kind == "few":
            sent.put("top_k", [row.request.top_k for row in states])
    if logged := [i for i, row in rows.items() if row.request.logprobs is not None]:
        sent.put("logged", logged)
    if repeating := {i: row for i, row in rows.items() if row.repeats}:
        ids = [np.fromiter(row.seen, np.float64) + i * vocabulary for i, row in repeating.items()]
        penalties = [row.request.repetition_penalty for row in repeating.values()]
        sent.put("seen places", np.concatenate(ids))
        sent.put("repetition", np.repeat(penalties, [len(part) for part in ids]))
    if changed := {i: row for i, row in rows.items() if row.offsets}:
        places = [np.asarray(row.offset_ids) + i * vocabulary for i, row in changed.items()]
        sent.put("offset places", np.concatenate(places))
        sent.put("offsets", np.concatenate([row.offsets for row in changed.values()]))
    if early := [i * vocabulary + token for i, row in rows.items() for token in row.early]:
        sent.put("early places", early)
    return sent


def _select(values: Tensor, indices: Tensor) -> Tensor:
    """The rows at ascending `indices`, without a copy if these are all rows."""
    return values if len(indices) == len(values) else values.index_select(0, indices)


def _token_logprobs(logs: list[float], ids: list[float], count: int) -> TokenLogprobs:
    """`logs` are of the token and then of the likeliest tokens `ids`, of which `count` are used."""
    top = zip([int(token) for token in ids[:count]], logs[1 : count + 1], strict=True)
    return TokenLogprobs(logs[0], tuple(top))


def choose_sampler(device: torch.device) -> type[Sampler] | type[CardSampler]:
    """The sampler that is fastest on this device."""
    return Sampler if device.type == "cpu" else CardSampler
