"""What holds for the scheduler whatever happens. `SimulatedEngine` checks each step on the way."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from align.inference.scheduling.kv_slots import shared_prefix
from tests.align.inference.scheduling.simulated_engine import SimulatedEngine, endless, expected
from tests.waiting import MOST_STEPS

ADAPTERS = 5  # with the base; more than there are places in the bank


@st.composite
def prompts(draw: st.DrawFn) -> tuple[int, ...]:
    """Often the same ones, or with a prefix in common, about as long as the scheduler minds."""
    family = draw(st.integers(1, 2))
    shared = draw(st.sampled_from([0, 5, 15, 16, 17, 40]))
    own = draw(st.lists(st.integers(1, 3), min_size=0 if shared else 1, max_size=20))
    return (*range(family, family + shared), *own)


class Life(RuleBasedStateMachine):
    """Sequences come, go on, are cancelled; adapters are unloaded and loaded again."""

    @initialize(
        slots=st.integers(1, 5),
        bank_slots=st.integers(1, 3),
        chunk_tokens=st.integers(1, 24),
        reuse=st.booleans(),
    )
    def start(self, slots: int, bank_slots: int, chunk_tokens: int, reuse: bool) -> None:
        self.engine = SimulatedEngine(slots, bank_slots, chunk_tokens, reuse)
        self.keys = list(range(ADAPTERS))
        self.fresh = ADAPTERS
        self.cancelled: set[int] = set()

    @rule(
        adapter=st.integers(0, ADAPTERS - 1),
        prompt=prompts(),
        max_new_tokens=st.integers(0, 6),
        reusable=st.none() | st.integers(0, 30),
        n=st.integers(1, 3),
    )
    def add(
        self,
        adapter: int,
        prompt: tuple[int, ...],
        max_new_tokens: int,
        reusable: int | None,
        n: int,
    ) -> None:
        for _ in range(n):
            self.engine.add(prompt, self.keys[adapter], max_new_tokens, reusable)

    @precondition(lambda self: self.engine.known)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.engine.known)))
        self.engine.scheduler.cancel(sequence)
        assert sequence not in self.engine.live()
        if sequence not in self.engine.done:
            self.cancelled.add(sequence)

    @rule(times=st.integers(1, 6))
    def step(self, times: int) -> None:
        for _ in range(times):
            self.engine.step()

    @rule(adapter=st.integers(1, ADAPTERS - 1))
    def reload(self, adapter: int) -> None:
        self.engine.scheduler.forget(self.keys[adapter])
        self.keys[adapter] = self.fresh
        self.fresh += 1

    def teardown(self) -> None:
        if "engine" in vars(self):
            self.engine.run()
            self.check_results()
            self.check_nothing_leaked()

    def check_results(self) -> None:
        """Every sequence ended once, with what its adapter writes after its prompt."""
        engine = self.engine
        assert set(engine.done).isdisjoint(self.cancelled)
        assert set(engine.done) | self.cancelled == set(engine.known)
        for sequence, tokens in engine.done.items():
            of = engine.known[sequence]
            assert tokens == expected(of.adapter, of.prompt, of.max_new_tokens)

    def check_nothing_leaked(self) -> None:
        """All KV slots can be live together, and all places in the bank be had together."""
        engine, scheduler = self.engine, self.engine.scheduler
        assert not scheduler.live and not scheduler.waiting
        for key in set(range(1, self.fresh)) - set(self.keys):
            assert scheduler.bank_slot(key) is None and not scheduler.uses(key)
        for token in range(engine.slots):
            engine.add([100 + token], max_new_tokens=0)
        engine.step()
        assert scheduler.waiting == 0
        engine.run()
        newcomers = range(self.fresh, self.fresh + engine.bank_slots)
        for adapter in newcomers:
            engine.add([1], adapter)
            engine.run()
        places = {scheduler.bank_slot(adapter) for adapter in newcomers}
        assert places == set(range(engine.bank_slots))


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


@settings(max_examples=150, deadline=None)
@given(
    slots=st.integers(1, 4),
    bank_slots=st.integers(1, 3),
    adapters=st.integers(4, 8),
    floods=st.sets(st.integers(0, 7), min_size=1),
    warm_up=st.integers(0, 30),
    targets=st.lists(st.integers(0, 7), min_size=3, max_size=6),
    lengths=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 5)), min_size=2, max_size=5),
)
def test_no_adapter_waits_long_under_floods_on_others(
    slots: int,
    bank_slots: int,
    adapters: int,
    floods: set[int],
    warm_up: int,
    targets: list[int],
    lengths: list[tuple[int, int]],
) -> None:
    engine = SimulatedEngine(slots, bank_slots, chunk_tokens=8, model=endless)
    life = slots * 5 + 6  # steps: all prompts before it at half a chunk each, then its own tokens
    share = max(1, slots // (bank_slots + 1))
    turns = adapters * (1 + share * (bank_slots + 1) + 1)

    def flooded_step(target: int) -> None:
        for adapter in {flood % adapters for flood in floods} - {target}:
            while engine.scheduler.waiting_for(adapter) <= slots:
                length, max_new_tokens = lengths[len(engine.known) % len(lengths)]
                engine.add([len(engine.known)] * length, adapter, max_new_tokens)
        engine.step()

    for _ in range(warm_up):
        flooded_step(targets[0] % adapters)
    for target in targets:
        waiting = engine.add([1, 2, 3], target % adapters)
        started = len(engine.plans)
        while waiting not in engine.done:
            flooded_step(target % adapters)
            assert len(engine.plans) - started <= life * turns, f"{target} is starved"


@settings(max_examples=60, deadline=None)
@given(slots=st.integers(1, 6), adapters=st.integers(2, 5), data=st.data())
def test_turns_are_even_where_all_adapters_have_a_place(
    slots: int, adapters: int, data: st.DataObject
) -> None:
    engine = SimulatedEngine(slots, bank_slots=adapters)
    order = data.draw(st.permutations([a for a in range(adapters) for _ in range(20)]))
    for at, adapter in enumerate(order):
        engine.add([at + 1], adapter, max_new_tokens=at % 4)
    started = [0] * adapters
    seen: set[int] = set()
    while min(started) < 20:
        assert len(engine.plans) < MOST_STEPS
        engine.step()
        new = {chunk.sequence for chunk in engine.plans[-1].chunks} - seen
        seen |= new
        for sequence in new:
            started[engine.known[sequence].adapter] += 1
        assert max(started) - min(started) <= 1


@given(
    a=st.lists(st.integers(0, 1), max_size=40),
    b=st.lists(st.integers(0, 1), max_size=40),
    common=st.integers(0, 100),
    beyond=st.integers(0, 20),
    limit=st.integers(0, 200),
)
def test_shared_prefixes_are_found(
    a: list[int], b: list[int], common: int, beyond: int, limit: int
) -> None:
    left, right = ([7] * common + a), ([7] * common + b)
    limit = min(limit, len(left), len(right))
    length = next((i for i in range(limit) if left[i] != right[i]), limit)
    found = shared_prefix(array("q", left), array("q", right), beyond, limit)
    assert found == (length if length > beyond else 0)
