"""The engine: continuous batching of all adapters on one base."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import torch

from align.adapters.tensors import LoraFactors
from align.base import Base
from align.chat_encoder import PLAIN_CHAT, ChatEncoder, ChatOptions
from align.errors import AdapterError
from align.gpu_memory import free_memory
from align.inference.batch_api import complete, scores, summed_log_probabilities
from align.inference.card_sampler import CardSampler, choose_sampler
from align.inference.construction import FreeMemory, build_model
from align.inference.in_flight import InFlight
from align.inference.live_sequence import LiveSequence, start
from align.inference.loaded_adapters import LoadedAdapters
from align.inference.modeling.cuda_graphs import Captured
from align.inference.modeling.model import Writing
from align.inference.options import EngineOptions, lengthened
from align.inference.request_limits import check_request
from align.inference.sampling_state import Picked
from align.inference.scheduling.scheduler import Chunk, Scheduler, StepPlan
from align.inference.stopping import Written, end_tokens
from align.inference.token_bytes import TokenBytes
from align.inference.transfers import upload
from align.inference.types import Completion, GenerationRequest, Messages, OnText, Traffic, Update


class BankEngine:
    """Implements `Engine` (the contract is in `align.inference.types`). Not thread-safe."""

    def __init__(
        self, base: Base, options: EngineOptions | None = None, free: FreeMemory = free_memory
    ):
        """RequestError if the options do not fit the base, or the `free` memory of its device."""
        options = options or EngineOptions()
        self._model, self._slot_tokens = build_model(base, options, free)
        self._known = LoadedAdapters(base, self._model.bank)
        self._reuse = options.reuse
        self._token_bytes = TokenBytes(base.tokenizer)
        self._chats = ChatEncoder(base.tokenizer, options.parse_control_tokens)
        self._vocabulary = int(base.model.config.vocab_size)
        self._ends, device = end_tokens(base), next(base.model.parameters()).device
        self._sampler = choose_sampler(device)(self._vocabulary, self._ends, device)
        self._ahead = isinstance(self._sampler, CardSampler)  # tokens are read a step later
        self._in_flight = InFlight()
        self._new_scheduler = partial(
            Scheduler,
            slots=options.slots,
            bank_slots=options.adapters,
            chunk_tokens=options.chunk_tokens,
            reuse=options.reuse,
            kept=self._known.is_kept,
        )
        self._scheduler = self._new_scheduler()
        self._live: dict[int, LiveSequence] = {}
        self._leaving: set[int] = set()  # keys of unloaded adapters that are still in use
        self._cancelled: list[int] = []
        self._ids, self.traffic = count(), Traffic()

    @property
    def loaded(self) -> set[str]:
        """Ids of the adapters that requests may name."""
        return self._known.ids

    @property
    def context_length(self) -> int:
        """Tokens per slot: the limit of the base, or what the memory budget allows."""
        return self._slot_tokens

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._live)

    def capture_graphs(self) -> Captured:
        """Capture decode steps of all shapes now; otherwise at the end of the first of a shape."""
        return self._model.capture_graphs()

    def reserve(self, tokens: int) -> None:
        """Give slots room for sequences of `tokens` before the first of them comes."""
        if (room := min(tokens, self._slot_tokens)) > self._model.cache.tokens:
            self._model.lengthen(lengthened(room, self._slot_tokens))

    def load(self, adapter_id: str, adapter: Path | LoraFactors) -> None:
        """Register an adapter. AdapterError if it does not fit the base."""
        self._known.add(adapter_id, adapter)

    def unload(self, adapter_id: str) -> None:
        """Remove an adapter; its sequences in progress are completed first."""
        key = self._known.remove(adapter_id)
        if key is not None:
            self._scheduler.forget(key)
            self._leaving.add(key)
            self._let_go()

    def keep(self, adapter_ids: Collection[str]) -> None:
        """Evict these adapters last. Replaces the adapters of the previous call."""
        self._known.keep(adapter_ids)

    def start_anew(self) -> None:
        """Drop all retained prefixes; no effect while requests are in progress.

        Reusing the prefix of another request changes the last digits of results. After this call,
        results do not depend on earlier requests.
        """
        if not self._live:
            self._scheduler = self._new_scheduler()
            self._let_go()

    def tokenize_chat(
        self, messages: Messages, generate: bool = True, options: ChatOptions = PLAIN_CHAT
    ) -> list[int]:
        """Apply the base's chat template; `generate` opens the assistant's turn."""
        return self._chats.encode(messages, generate, options)

    def submit(self, request: GenerationRequest, streamed: bool = True) -> list[int]:
        """Queue a request; return its `n` sequence ids. RequestError or AdapterError if refused."""
        adapter = None if request.adapter is None else self._known.named(request.adapter)
        check_request(
            request,
            vocabulary=self._vocabulary,
            slot_tokens=self._slot_tokens,
            reward=adapter is not None and adapter.head is not None,
        )
        self.reserve(len(request.prompt_ids) + request.max_new_tokens)
        sequence_ids = []
        for index in range(request.n):
            written = Written(request, self._token_bytes.begin(), self._ends, streamed)
            live = start(next(self._ids), request, adapter, written, self._reuse)
            sequence = live.scheduled.id
            self._live[sequence] = live
            self._sampler.add(sequence, request, index)
            self._scheduler.add(live.scheduled)
            sequence_ids.append(sequence)
        return sequence_ids

    def cancel(self, sequence: int) -> None:
        """End a sequence at the next step; no effect if it has ended."""
        if sequence in self._live:
            self._cancelled.append(sequence)

    @torch.inference_mode()
    def step(self) -> list[Update]:
        """Admit sequences, prefill one chunk of prompts, decode one token of each prefilled row.

        If it raises, all sequences in progress are dropped and no state of theirs is reused.
        """
        try:
            updates = self._step()
            self._model.capture_missed_graph()
            return updates
        except BaseException:
            for sequence in self._live:
                self._sampler.drop(sequence)
            self._live.clear()
            self._cancelled.clear()
            self._in_flight = InFlight()
            self._scheduler = self._new_scheduler()
            self._let_go()
            raise

    def _step(self) -> list[Update]:
        updates = self._cancel()
        due, self._in_flight = self._in_flight, InFlight()
        ahead = set(self._write_ahead(due))
        updates += self._take(due.read())  # texts are decoded while the device is busy
        plan = self._scheduler.plan()
        self._arrange(plan)
        # Sorted, so that neighbours share an adapter.
        rows = sorted((row for row in plan.rows if row not in ahead), key=self._bank_slot)
        if rows:
            updates += self._sample(self._model.write(self._writing(rows)), rows)
        if plan.chunks:
            updates += self._read(plan.chunks)
        self._let_go()
        return updates

    def _cancel(self) -> list[Update]:
        updates = []
        for sequence in self._cancelled:
            if (live := self._live.get(sequence)) is not None:
                text = live.written.cancel()
                self._scheduler.cancel(sequence)
                updates.append(self._end(sequence, text))
        self._cancelled.clear()
        return updates

    def _arrange(self, plan: StepPlan) -> None:
        """Load adapters into their bank slots and copy prefixes into their KV slots."""
        loaded = {key for key, _ in plan.residencies}
        self.traffic = Traffic(
            tuple((seq, self._live[seq].scheduled.adapter not in loaded) for seq in plan.admitted),
            self._known.ids_of(loaded),
            self._known.ids_of(plan.evictions),
        )
        for key, slot in plan.residencies:
            self._model.bank.put(slot, self._known[key].weights)
        for copy in plan.copies:
            self._model.cache.copy(copy.source, copy.target, copy.count)

    def _write_ahead(self, due: InFlight) -> list[int]:
        """Queue the next step of the sequences whose last token is in flight, and return these.

        If that token ends its sequence, the row is surplus: its keys and values are beyond what the
        scheduler counts as computed. Penalties count the last token, so every row waits for it.
        """
        sampler = self._sampler
        if not isinstance(sampler, CardSampler) or any(map(sampler.needs_token, due.sequences)):
            return []
        rows = sorted(self._scheduler.continuing(due.sequences), key=self._bank_slot)
        if rows:
            logits = self._model.write(self._writing(rows, unread=1), due.tokens(rows))
            self._in_flight.add(sampler.launch(logits, rows), rows)
        return rows

    def _writing(self, rows: Sequence[int], unread: int = 0) -> list[Writing]:
        return [self._live[row].writing(self._bank_slot(row), unread) for row in rows]

    def _bank_slot(self, sequence: int) -> int:
        slot = self._scheduler.bank_slot(self._live[sequence].scheduled.adapter)
        return -1 if slot is None else slot

    def _read(self, chunks: Sequence[Chunk]) -> list[Update]:
        readings = [
            self._live[chunk.sequence].reading(chunk, self._bank_slot(chunk.sequence))
            for chunk in chunks
        ]
        hidden, first, writing, last, updates = self._model.read(readings), 0, [], [], []
        for chunk in chunks:
            live, part = self._live[chunk.sequence], hidden[first : first + chunk.count]
            first += chunk.count
            if live.take(chunk, part, self._model.logits):
                if live.request.max_new_tokens:
                    writing.append(chunk.sequence)
                    last.append(first - 1)
                else:
                    self._scheduler.finish(chunk.sequence)
                    updates.append(self._end(chunk.sequence, ""))
        if writing:
            ends = hidden.index_select(0, upload(last, torch.int64, hidden.device))
            updates += self._sample(self._model.logits(ends), writing)
        return updates

    def _sample(self, logits: torch.Tensor, sequences: Sequence[int]) -> list[Update]:
        """Sample a token for each sequence; on a card the next step reads it."""
        if self._ahead and isinstance(self._sampler, CardSampler):
            self._in_flight.add(self._sampler.launch(logits, sequences), sequences)
            return []
        return self._take(zip(sequences, self._sampler.pick(logits, sequences), strict=True))

    def _take(self, picks: Iterable[tuple[int, Picked]]) -> list[Update]:
        """Add a token to each sequence in progress, and end the sequences that are complete."""
        updates = []
        for sequence, picked in picks:
            if sequence not in self._live:
                continue
            written = self._live[sequence].written
            text, over = written.take(picked)
            self._scheduler.wrote(sequence, picked.token)
            if over:
                self._scheduler.finish(sequence)
                updates.append(self._end(sequence, text))
            else:
                updates.append(Update(sequence, text, written.completion, False))
        return updates

    def _end(self, sequence: int, text: str) -> Update:
        self._sampler.drop(sequence)
        return Update(sequence, text, self._live.pop(sequence).written.completion, True)

    def _let_go(self) -> None:
        for key in [adapter for adapter in self._leaving if not self._scheduler.uses(adapter)]:
            self._leaving.discard(key)
            self._known.drop(key)

    def generate(
        self, requests: Sequence[GenerationRequest], on_text: OnText | None = None
    ) -> list[Completion]:
        """Run all requests. Completions are in request order, the `n` of each request together."""
        return complete(self, requests, on_text)

    def score(self, conversations: Sequence[Messages], adapter_id: str) -> list[float]:
        """Scores by a reward adapter. AdapterError if it has no reward head."""
        if self._known.named(adapter_id).head is None:
            raise AdapterError(f"adapter {adapter_id[:12]} has no reward head; it cannot score")
        return scores(self, conversations, adapter_id)

    def log_probabilities(
        self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], adapter_id: str | None
    ) -> list[float]:
        """Summed log-probability of the completion for each (prompt ids, completion ids)."""
        return summed_log_probabilities(self, sequences, adapter_id)
