"""Forward passes over KV slots and the adapter bank. Scheduling decisions are made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from align.base import Base
from align.inference.families import logit_factor
from align.inference.kernels import Batch, choose_ops
from align.inference.modeling.bank import Bank
from align.inference.modeling.cuda_graphs import Capture, Captured, DecodeGraphs
from align.inference.modeling.kv_cache import KVCache
from align.inference.modeling.module_patching import equip
from align.inference.modeling.packed_linear import product
from align.inference.transfers import send


@dataclass(frozen=True)
class Reading:
    """A run of prompt tokens for a slot, from position `start` on; `bank` -1 is no adapter."""

    tokens: Sequence[int]
    slot: int
    start: int
    bank: int


@dataclass(frozen=True)
class Writing:
    """A row of a decode step: its newest token and the position of that token.

    `token` is ignored where the tokens are on the device already.
    """

    token: int
    slot: int
    position: int
    bank: int


class Model:
    """A copy of the base's module tree with KV slots and an adapter bank.

    There are `slots` KV slots of `tokens` each and `adapters` bank slots of at most `max_rank`.
    With `capture`, decode steps run in padded shapes, which `capture_graphs` captures.
    """

    def __init__(
        self,
        base: Base,
        slots: int,
        tokens: int,
        adapters: int,
        max_rank: int,
        capture: Capture | None = None,
    ):
        model: Any = base.shell()
        weight = next(model.parameters())
        self._device = weight.device
        ops = choose_ops(weight.device, weight.dtype)
        self.bank = Bank(adapters, max_rank, ops, weight.device)
        kv_slots = slots + (capture is not None)  # an extra slot for surplus rows of padded steps
        self.cache = KVCache(model.config, kv_slots, tokens, weight.dtype, weight.device)
        equip(model, self.bank, self.cache)
        self._factor = logit_factor(model.config)
        head = model.get_output_embeddings()
        self._body, self._head = model.base_model, product([head])
        # Prevents transformers from building a mask: the engine's attention masks each row itself.
        self._no_mask = weight.new_zeros(1, 1, 1, 1)
        self._graphs: DecodeGraphs | None = None
        if capture is not None:
            logits = weight.new_empty(slots, head.out_features)
            self._graphs = DecodeGraphs(self._step, logits, tokens, capture)

    @torch.inference_mode()
    def capture_graphs(self) -> Captured:
        """Capture all decode steps; no effect without `capture`."""
        return Captured() if self._graphs is None else self._graphs.capture(self.bank.version)

    @torch.inference_mode()
    def capture_missed_graph(self) -> None:
        """Capture a shape that decode steps have run in without a graph, if there is any."""
        if self._graphs is not None:
            self._graphs.capture_missed(self.bank.version)

    def lengthen(self, tokens: int) -> None:
        """Give every KV slot `tokens` tokens; what the slots hold stays. Graphs are discarded."""
        self.cache.lengthen(tokens)
        if self._graphs is not None:
            self._graphs.restart(tokens)

    def read(self, readings: Sequence[Reading]) -> torch.Tensor:
        """Final hidden states (tokens, hidden) of all runs, concatenated, after the last norm."""
        spans: list[tuple[int, int, int, int]] = []
        groups: list[tuple[int, int, int]] = []
        slots: list[int] = []
        positions: list[int] = []
        bank: list[int] = []
        for reading in readings:
            first, count = len(slots), len(reading.tokens)
            spans.append((first, first + count, reading.slot, reading.start))
            slots += [reading.slot] * count
            positions += range(reading.start, reading.start + count)
            bank += [reading.bank] * count
            if groups and groups[-1][2] == reading.bank:
                groups[-1] = (groups[-1][0], first + count, reading.bank)
            else:
                groups.append((first, first + count, reading.bank))
        groups = [group for group in groups if group[2] >= 0]
        tokens = [token for reading in readings for token in reading.tokens]
        inputs = send(_ints(tokens, slots, positions, bank), self._device)
        batch = Batch(
            slots=inputs[1],
            positions=inputs[2],
            bank=inputs[3],
            longest=max(positions) + 1,
            adapted=bool(groups),
            spans=tuple(spans),
            groups=tuple(groups),
        )
        return self._forward(inputs[0].long(), batch)

    def write(self, rows: Sequence[Writing], tokens: torch.Tensor | None = None) -> torch.Tensor:
        """One decode step: logits (rows, vocabulary). `tokens` (rows,) may be on the device.

        With `capture` the logits lie in a tensor that the next step overwrites: operations that
        read them are to be queued before.
        """
        inputs = _ints(
            [row.token for row in rows],
            [row.slot for row in rows],
            [row.position for row in rows],
            [row.bank for row in rows],
        )
        longest = max(row.position for row in rows) + 1
        adapted = any(row.bank >= 0 for row in rows)
        if self._graphs is not None:
            return self._graphs.run(inputs, longest, adapted, self.bank.version, tokens)
        sent = send(inputs, self._device)
        if tokens is not None:
            sent[0].copy_(tokens)
        return self._step(sent, longest, adapted)

    def _step(self, inputs: torch.Tensor, longest: int, adapted: bool) -> torch.Tensor:
        tokens, slots, positions, bank = inputs
        batch = Batch(slots, positions, bank, longest, adapted)
        return self.logits(self._forward(tokens.long(), batch))

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) of final hidden states (rows, hidden)."""
        logits = self._head(hidden)
        return logits if self._factor == 1 else logits * self._factor

    def probe(self, tokens: Sequence[int]) -> torch.Tensor:
        """Logits (tokens, vocabulary) of a sequence without an adapter, to check the engine.

        The tokens are read in two pieces, except for the last, which takes a decode step. Slot 0
        is overwritten and must be unused.
        """
        half, last = len(tokens) // 2, len(tokens) - 1
        pieces = [Reading(tokens[:half], 0, 0, -1), Reading(tokens[half:last], 0, half, -1)]
        prompt_logits = [self.logits(self.read([piece])) for piece in pieces]
        return torch.cat([*prompt_logits, self.write([Writing(tokens[last], 0, last, -1)])])

    def _forward(self, tokens: torch.Tensor, batch: Batch) -> torch.Tensor:
        batch = self.bank.begin(batch)
        hidden: torch.Tensor = self._body(
            input_ids=tokens[None],
            position_ids=batch.position_index[None],
            attention_mask=self._no_mask,
            use_cache=False,
        ).last_hidden_state
        self.bank.batch = None  # frees what its layers have shared
        return hidden[0].to(self._no_mask.dtype)  # fp32 where layers are held in fp32


def _ints(*lists: Sequence[int]) -> torch.Tensor:
    """Lists of equal length as the rows of a tensor, so that all go to a device in one transfer."""
    return torch.tensor(lists, dtype=torch.int32)
