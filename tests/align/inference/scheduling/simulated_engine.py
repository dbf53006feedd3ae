"""An engine without a model: carries out the scheduler's plans and checks each of them.

Its memory remembers for every position which adapter computed which token, and the "model" reads
that memory alone, so that a wrong slot, copy or position changes what is written.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby

from align.inference.scheduling.scheduler import Scheduler, StepPlan
from align.inference.scheduling.sequence import Sequence

END = 0
Tagged = list[tuple[int, int]]


def next_token(context: Tagged) -> int:
    """The model: depends on every token that was read, and on the adapter that read it."""
    state = 7
    for adapter, token in context:
        state = (state * 31 + adapter * 1009 + token + 1) % 1_000_003
    return state % 5


def endless(context: Tagged) -> int:
    """A model whose sequences end by their length alone."""
    return len(context) + 1


def expected(adapter: int, prompt: tuple[int, ...], max_new_tokens: int) -> list[int]:
    """What this adapter writes after this prompt when it is alone."""
    context = [(adapter, token) for token in prompt]
    written: list[int] = []
    while len(written) < max_new_tokens and (token := next_token(context)) != END:
        written.append(token)
        context.append((adapter, token))
    return written


@dataclass
class SimulatedEngine:
    """Drives a scheduler; `done` holds what each finished sequence wrote."""

    slots: int = 2
    bank_slots: int = 2
    chunk_tokens: int = 8
    reuse: bool = True
    model: Callable[[Tagged], int] = next_token
    kept: set[int] = field(default_factory=set)
    done: dict[int, list[int]] = field(default_factory=dict)
    plans: list[StepPlan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(
            slots=self.slots,
            bank_slots=self.bank_slots,
            chunk_tokens=self.chunk_tokens,
            reuse=self.reuse,
            kept=lambda adapter: adapter in self.kept,
        )
        self.memory: list[Tagged] = [[] for _ in range(self.slots)]
        self.bank: dict[int, int] = {}  # bank slot → adapter
        self.known: dict[int, Sequence] = {}

    def add(
        self,
        prompt: Iterable[int],
        adapter: int = 0,
        max_new_tokens: int = 3,
        reusable: int | None = None,
    ) -> int:
        """Queue a sequence; its id."""
        tokens = tuple(prompt)
        most = len(tokens) - 1 if reusable is None else min(reusable, len(tokens) - 1)
        sequence = Sequence(len(self.known), adapter, tokens, max_new_tokens, most)
        self.known[sequence.id] = sequence
        self.scheduler.add(sequence)
        return sequence.id

    def step(self) -> StepPlan:
        """Plan, carry it out, report what was written; fails at the first thing that is wrong."""
        before = self.scheduler.live
        was_busy = self.scheduler.busy
        plan = self.scheduler.plan()
        self.plans.append(plan)
        assert bool(plan.chunks or plan.rows) == was_busy, "busy and idle, or idle and at work"
        self._move_adapters(plan, before)
        self._check_live()
        for copy in plan.copies:
            assert copy.source != copy.target and 0 < copy.count <= len(self.memory[copy.source])
            self.memory[copy.target][: copy.count] = self.memory[copy.source][: copy.count]
        self._check_chunks(plan)
        for chunk in plan.chunks:
            sequence = self.known[chunk.sequence]
            for position in range(chunk.start, chunk.start + chunk.count):
                self._compute(sequence, position)
            if chunk.start + chunk.count == len(sequence.prompt):
                self._sample(sequence)
        for row in plan.rows:
            sequence = self.known[row]
            self._compute(sequence, len(sequence.prompt) + len(sequence.tokens) - 1)
            self._sample(sequence)
        return plan

    def run(self, most: int = 10_000) -> None:
        """Step until nothing is left to do."""
        for _ in range(most):
            if not self.scheduler.busy:
                return
            self.step()
        raise AssertionError(f"still busy after {most} steps")

    def live(self) -> set[int]:
        return {sequence.id for sequence in self.scheduler.live}

    def _move_adapters(self, plan: StepPlan, before: list[Sequence]) -> None:
        in_use = {sequence.adapter for sequence in before}
        for adapter in plan.evictions:
            assert adapter not in in_use, f"adapter {adapter} evicted while it is used"
            self.bank = {slot: key for slot, key in self.bank.items() if key != adapter}
        for adapter, slot in plan.residencies:
            assert slot in range(self.bank_slots) and slot not in self.bank
            assert adapter not in self.bank.values()
            self.bank[slot] = adapter
        for slot, adapter in self.bank.items():
            assert self.scheduler.bank_slot(adapter) == slot

    def _check_live(self) -> None:
        live = self.scheduler.live
        slots = [sequence.slot for sequence in live]
        assert len(set(slots)) == len(slots) and set(slots) <= set(range(self.slots))
        for sequence in live:
            assert sequence.adapter == 0 or sequence.adapter in self.bank.values()

    def _check_chunks(self, plan: StepPlan) -> None:
        budget = self.chunk_tokens * (1 if plan.rows else 4)
        assert sum(chunk.count for chunk in plan.chunks) <= budget
        assert all(chunk.count > 0 for chunk in plan.chunks)
        runs = [key for key, _ in groupby(self.known[c.sequence].adapter for c in plan.chunks)]
        assert len(runs) == len(set(runs)), "chunks of one adapter are apart"
        busy = [chunk.sequence for chunk in plan.chunks] + list(plan.rows)
        assert len(busy) == len(set(busy)) and set(busy) <= self.live()

    def _compute(self, sequence: Sequence, position: int) -> None:
        """One position's keys and values, for which all earlier ones must lie in the slot."""
        assert sequence.slot is not None
        memory = self.memory[sequence.slot]
        own = [(sequence.adapter, t) for t in (*sequence.prompt, *sequence.tokens)]
        assert memory[:position] == own[:position], f"sequence {sequence.id} reads another's"
        memory[position : position + 1] = [own[position]]

    def _sample(self, sequence: Sequence) -> None:
        assert sequence.slot is not None
        length = len(sequence.prompt) + len(sequence.tokens)
        assert sequence.computed == length
        if sequence.max_new_tokens == 0:
            return self._finish(sequence)
        token = self.model(self.memory[sequence.slot][:length])
        if token == END:
            return self._finish(sequence)
        self.scheduler.wrote(sequence.id, token)
        if len(sequence.tokens) == sequence.max_new_tokens:
            self._finish(sequence)

    def _finish(self, sequence: Sequence) -> None:
        self.scheduler.finish(sequence.id)
        assert sequence.id not in self.done
        self.done[sequence.id] = list(sequence.tokens)
