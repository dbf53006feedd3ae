"""The scheduler's decisions, case by case. Each step is carried out and checked on the way."""

import pytest

from align.inference.scheduling.scheduler import Chunk, Copy, Scheduler, StepPlan
from align.inference.scheduling.sequence import Sequence
from tests.align.inference.scheduling.simulated_engine import SimulatedEngine, endless
from tests.waiting import step_until

LONG = 10_000
FAR = 50  # tokens that a sequence writes when it shall live for the whole test


def prompt(length: int, family: int = 0) -> tuple[int, ...]:
    """Prompts of one family are prefixes of each other, those of two share nothing."""
    return tuple(range(family * LONG, family * LONG + length))


def engine_with(
    slots: int = 2, bank_slots: int = 2, chunk_tokens: int = 8, reuse: bool = True
) -> SimulatedEngine:
    return SimulatedEngine(slots, bank_slots, chunk_tokens, reuse, endless)


def admitted(engine: SimulatedEngine, steps: int = 100) -> list[int]:
    """Ids in the order in which they got a slot."""
    seen: list[int] = []
    for _ in range(steps):
        seen += [s.id for s in engine.scheduler.live if s.id not in seen]
        if not engine.scheduler.busy:
            break
        engine.step()
    return seen


def computed(engine: SimulatedEngine) -> int:
    """Prompt tokens that went through the model."""
    return sum(chunk.count for plan in engine.plans for chunk in plan.chunks)


# Turns


def test_nothing_to_do_is_an_empty_plan() -> None:
    engine = engine_with()
    assert not engine.scheduler.busy
    assert engine.step() == StepPlan()


def test_turns_go_round_the_adapters_and_each_is_first_in_first_out() -> None:
    engine = engine_with(slots=1)
    flood = [engine.add(prompt(2, i), adapter=1) for i in range(4)]
    base = [engine.add(prompt(2, i)) for i in range(2)]
    other = [engine.add(prompt(2, i), adapter=2) for i in range(2)]
    first, second, *rest = zip(flood, [*base, None, None], [*other, None, None], strict=True)
    assert admitted(engine) == [*first, *second, *(turn[0] for turn in rest)]


def test_a_new_adapter_comes_before_the_rest_of_a_flood() -> None:
    engine = engine_with(slots=1)
    flood = [engine.add(prompt(2, i)) for i in range(50)]
    engine.step()
    late = engine.add(prompt(2), adapter=3)
    assert admitted(engine)[:3] == [flood[0], flood[1], late]


def test_no_more_live_sequences_than_slots() -> None:
    engine = engine_with(slots=3)
    ids = [engine.add(prompt(2, i), max_new_tokens=FAR) for i in range(5)]
    engine.step()
    assert [s.id for s in engine.scheduler.live] == ids[:3]
    assert (engine.scheduler.waiting, engine.scheduler.waiting_for(0)) == (2, 2)


# Places in the bank


def test_adapters_take_free_places_then_that_of_the_least_recently_used() -> None:
    engine = engine_with(slots=4, bank_slots=2)
    for adapter in (1, 2, 1, 3):
        engine.add(prompt(2), adapter=adapter)
        engine.run()
    assert [engine.scheduler.bank_slot(adapter) for adapter in (1, 2, 3)] == [0, None, 1]
    assert [key for plan in engine.plans for key in plan.evictions] == [2]


def test_an_adapter_that_somebody_waits_for_keeps_its_place_if_another_is_idle() -> None:
    engine = engine_with(slots=1, bank_slots=2)
    for adapter in (1, 2):  # 1 was used less recently
        engine.add(prompt(2), adapter=adapter)
        engine.run()
    engine.add(prompt(2), adapter=3)
    engine.add(prompt(2), adapter=1)
    engine.step()
    assert engine.plans[-1].evictions == (2,)


def test_a_kept_adapter_gives_its_place_up_last() -> None:
    engine = engine_with(slots=4, bank_slots=2)
    engine.kept = {1, 3}
    for adapter in (1, 2, 3, 4):  # 1 was used less recently than 2 or 3
        engine.add(prompt(2), adapter=adapter)
        engine.run()
    assert [key for plan in engine.plans for key in plan.evictions] == [2, 1]


def test_a_kept_adapter_drains_last() -> None:
    engine = engine_with(slots=8, bank_slots=2)
    engine.kept = {2}
    for adapter in (1, 1, 2):  # 2 has less to do
        engine.add(prompt(2, adapter), adapter=adapter, max_new_tokens=8)
    engine.step()
    stranger = engine.add(prompt(2), adapter=3)
    step_until(lambda: stranger in engine.live(), engine.step)
    assert engine.plans[-1].evictions == (1,)


def test_the_base_needs_no_place() -> None:
    engine = engine_with(slots=2, bank_slots=1)
    engine.add(prompt(2), adapter=1, max_new_tokens=FAR)
    engine.step()
    base = engine.add(prompt(2))
    engine.step()
    assert base in engine.live()
    assert engine.scheduler.bank_slot(0) is None


def test_where_all_places_are_busy_the_least_loaded_adapter_drains() -> None:
    engine = engine_with(slots=8, bank_slots=2)
    for adapter in (1, 1, 2):
        engine.add(prompt(2, adapter), adapter=adapter, max_new_tokens=8)
    engine.step()
    stranger = engine.add(prompt(2), adapter=3)
    engine.step()
    more_1, more_2 = (engine.add(prompt(2, 7), adapter, FAR) for adapter in (1, 2))
    engine.step()
    assert engine.live() >= {more_1}, "adapter 1 does not drain"
    assert not engine.live() & {more_2, stranger}, "adapter 2 drains, so nothing more of it starts"
    step_until(lambda: stranger in engine.live(), engine.step)
    assert engine.plans[-1].evictions == (2,)
    assert more_1 in engine.live()


def test_a_newcomer_fills_the_free_slots_before_it_drains() -> None:
    engine = engine_with(slots=4, bank_slots=1)
    ids = [engine.add(prompt(2, i), adapter=1, max_new_tokens=5) for i in range(3)]
    stranger = engine.add(prompt(2), adapter=2)
    engine.step()
    assert engine.live() == set(ids)
    step_until(lambda: stranger in engine.live(), engine.step)
    assert set(ids) <= set(engine.done)


def test_those_that_wait_for_a_place_are_served_in_the_order_of_their_turns() -> None:
    engine = engine_with(slots=8, bank_slots=1)
    ids = [engine.add(prompt(2), adapter=adapter) for adapter in (5, 3, 4, 1, 2)]
    assert admitted(engine) == ids


def test_two_floods_on_one_place_take_turns() -> None:
    engine = engine_with(slots=1, bank_slots=1)
    one = [engine.add(prompt(2, i), adapter=1) for i in range(3)]
    two = [engine.add(prompt(2, i), adapter=2) for i in range(3)]
    assert admitted(engine) == [one[0], two[0], one[1], two[1], one[2], two[2]]


def test_a_drain_ends_with_the_last_that_it_was_for() -> None:
    engine = engine_with(slots=4, bank_slots=1)
    engine.add(prompt(2), adapter=1, max_new_tokens=FAR)
    engine.step()
    stranger = engine.add(prompt(2), adapter=2)
    engine.step()
    more = engine.add(prompt(2, 7), adapter=1)
    engine.step()
    assert more not in engine.live()
    engine.scheduler.cancel(stranger)
    engine.step()
    assert more in engine.live()


def test_a_drained_adapter_that_is_next_itself_starts_all_it_can() -> None:
    engine = engine_with(slots=4, bank_slots=1)
    engine.add(prompt(2), adapter=1, max_new_tokens=FAR)
    engine.step()
    stranger = engine.add(prompt(2), adapter=2)
    engine.step()
    more = [engine.add(prompt(2, 7 + i), adapter=1) for i in range(2)]
    engine.step()
    engine.add(prompt(2), adapter=3)
    engine.step()
    assert not engine.live() & set(more)
    engine.scheduler.cancel(stranger)
    engine.step()
    assert engine.live() >= set(more)


def test_a_visit_is_worth_the_loading() -> None:
    """With 5 slots for the base and one adapter, it is sure of 2 admissions before it drains."""
    engine = engine_with(slots=5, bank_slots=1)
    engine.add(prompt(2), adapter=9, max_new_tokens=5)
    base = [engine.add(prompt(2, i), max_new_tokens=n) for i, n in enumerate((10, 14, 18))]
    engine.step()
    visit = [engine.add(prompt(2, i), adapter=1, max_new_tokens=FAR) for i in range(4)]
    engine.add(prompt(2), adapter=2)
    engine.step()
    engine.add(prompt(2, 7), max_new_tokens=FAR)
    step_until(lambda: set(base) <= set(engine.done), engine.step)
    engine.step()
    assert engine.live() & set(visit) == set(visit[:2])


def test_of_equally_loaded_adapters_the_one_with_fewer_waiting_drains() -> None:
    engine = engine_with(slots=4, bank_slots=2)
    for adapter in (1, 2, 0):
        engine.add(prompt(2), adapter=adapter, max_new_tokens=FAR)
    engine.step()
    engine.add(prompt(2), adapter=3)
    base = engine.add(prompt(2), max_new_tokens=FAR)
    more = engine.add(prompt(2, 7), adapter=1)
    engine.step()
    engine.scheduler.cancel(base)
    engine.step()
    assert more in engine.live()


def test_no_more_adapters_drain_than_wait_for_a_place() -> None:
    engine = engine_with(slots=16, bank_slots=4)
    for adapter in range(1, 5):
        engine.add(prompt(2), adapter=adapter, max_new_tokens=FAR)
    engine.step()
    strangers = [engine.add(prompt(2), adapter=adapter) for adapter in (5, 6)]
    engine.step()
    engine.scheduler.cancel(strangers[1])
    engine.step()
    more = [engine.add(prompt(2, 7), adapter=adapter) for adapter in range(1, 5)]
    engine.step()
    assert len(engine.live() & set(more)) == 3


def test_half_of_the_places_drain_at_most() -> None:
    engine = engine_with(slots=16, bank_slots=4)
    for adapter in range(1, 5):
        engine.add(prompt(2), adapter=adapter, max_new_tokens=FAR)
    engine.step()
    for adapter in range(5, 15):
        engine.add(prompt(2), adapter=adapter)
    engine.step()
    more = [engine.add(prompt(2, 7), adapter=adapter) for adapter in range(1, 5)]
    engine.step()
    assert len(engine.live() & set(more)) == 2


# Unloading


def test_an_unloaded_adapter_leaves_its_place_after_its_last_sequence() -> None:
    engine = engine_with(slots=1)
    live = engine.add(prompt(2), adapter=1)
    waiting = engine.add(prompt(2), adapter=1)
    engine.step()
    engine.scheduler.forget(1)
    assert engine.scheduler.uses(1) and engine.scheduler.bank_slot(1) == 0
    engine.run()
    assert {live, waiting} <= set(engine.done)
    assert not engine.scheduler.uses(1) and engine.scheduler.bank_slot(1) is None


def test_an_idle_adapter_that_is_unloaded_leaves_at_once() -> None:
    engine = engine_with()
    engine.add(prompt(2), adapter=1)
    engine.run()
    engine.scheduler.forget(1)
    assert engine.scheduler.bank_slot(1) is None
    assert engine.scheduler.plan().evictions == (1,)


def test_what_an_unloaded_adapter_retained_is_free_at_once() -> None:
    engine = engine_with(slots=2)
    for adapter in (0, 1):
        engine.add(prompt(2, adapter), adapter=adapter, max_new_tokens=FAR)
    engine.run()
    engine.scheduler.forget(1)
    newcomer = engine.add(prompt(2, 5), max_new_tokens=FAR)
    engine.step()
    assert engine.known[newcomer].slot == 1, "the free one, though the base's was used before it"


def test_a_sequence_that_outlives_its_adapter_retains_nothing() -> None:
    engine = engine_with(slots=2)
    engine.add(prompt(2, 1), adapter=1, max_new_tokens=4)
    engine.step()
    engine.scheduler.forget(1)
    engine.run()
    ids = [engine.add(prompt(2, 5 + i), max_new_tokens=FAR) for i in range(2)]
    engine.step()
    assert [engine.known[i].slot for i in ids] == [0, 1]


# KV slots


def slots_of_newcomers(engine: SimulatedEngine, count: int) -> list[int | None]:
    """The slots that so many sequences get which share nothing with anything."""
    ids = [engine.add(prompt(2, 100 + i), max_new_tokens=FAR) for i in range(count)]
    engine.step()
    return [engine.known[i].slot for i in ids]


def test_free_slots_are_taken_first_then_the_least_recently_used() -> None:
    engine = engine_with(slots=3)
    for family in range(2):
        engine.add(prompt(40, family))
        engine.run()
    assert slots_of_newcomers(engine, 3) == [2, 0, 1]


def test_a_slot_whose_prefix_was_copied_counts_as_used() -> None:
    engine = engine_with(slots=3)
    for family in (0, 1, 0):
        engine.add(prompt(40, family))
        engine.run()
    assert slots_of_newcomers(engine, 3) == [1, 0, 2]


def test_without_reuse_a_slot_is_free_at_its_sequences_end() -> None:
    engine = engine_with(slots=2, reuse=False)
    for _ in range(3):
        engine.add(prompt(40))
        engine.run()
    assert computed(engine) == 120
    assert not any(plan.copies for plan in engine.plans)
    newcomer = engine.add(prompt(40), max_new_tokens=FAR)
    engine.step()
    assert engine.known[newcomer].slot == 0


def test_cancelled_sequences_are_gone_at_once() -> None:
    engine = engine_with(slots=1)
    live, waiting, last = (engine.add(prompt(2, i)) for i in range(3))
    engine.step()
    for sequence in (waiting, live, live, 12345):
        engine.scheduler.cancel(sequence)
    assert engine.scheduler.live == []
    engine.run()
    assert set(engine.done) == {last}


# Prefixes


def test_a_prefix_is_copied_from_a_slot_that_was_left() -> None:
    engine = engine_with(slots=2)
    engine.add(prompt(40), max_new_tokens=1)
    engine.run()
    second = engine.add((*prompt(30), -1, -2), max_new_tokens=0)
    plan = engine.step()
    assert plan.copies == (Copy(source=0, target=1, count=30),)
    assert plan.chunks == (Chunk(second, start=30, count=2),)
    assert engine.known[second].cached == 30


def test_a_prefix_is_copied_from_a_live_sequence() -> None:
    engine = engine_with(slots=2, chunk_tokens=64)
    engine.add(prompt(40), max_new_tokens=FAR)
    engine.step()
    second = engine.add(prompt(40))
    assert engine.step().copies == (Copy(source=0, target=1, count=39),)
    engine.run()
    assert engine.done[second] == [41, 42, 43]


def test_the_longest_of_several_prefixes_is_taken() -> None:
    engine = engine_with(slots=4)
    for length in (20, 40, 30):
        engine.add((*prompt(length), -length), max_new_tokens=0)
        engine.run()
    engine.add((*prompt(50), -1), max_new_tokens=0)
    assert [copy.count for copy in engine.step().copies] == [40]


def test_the_next_turn_of_a_chat_goes_on_in_its_slot() -> None:
    engine = engine_with(slots=2)
    first = engine.add(prompt(20), max_new_tokens=4)
    engine.run()
    spoken = (*prompt(20), *engine.done[first])
    second = engine.add((*spoken, -1, -2, -3), max_new_tokens=FAR)
    plan = engine.step()
    assert plan.copies == ()
    # The last token written was never read, so its keys and values are not there.
    assert plan.chunks == (Chunk(second, start=23, count=4),)
    assert engine.known[second].slot == 0


def test_a_slot_that_would_be_overwritten_anyway_is_taken_over() -> None:
    engine = engine_with(slots=1)
    engine.add(prompt(40))
    engine.run()
    engine.add((*prompt(30), -1), max_new_tokens=0)
    plan = engine.step()
    assert plan.copies == ()
    assert [(chunk.start, chunk.count) for chunk in plan.chunks] == [(30, 1)]


def test_another_adapters_prefix_is_not_taken() -> None:
    engine = engine_with(slots=3)
    for adapter in (0, 1, 2):
        engine.add(prompt(40), adapter=adapter)
        engine.run()
    assert computed(engine) == 120


@pytest.mark.parametrize(("shared", "length", "cached"), [(15, 40, 0), (16, 40, 16), (5, 10, 5)])
def test_a_prefix_is_copied_if_it_is_worth_it(shared: int, length: int, cached: int) -> None:
    engine = engine_with(slots=2, chunk_tokens=64)
    engine.add(prompt(40), max_new_tokens=1)
    engine.run()
    second = engine.add((*prompt(shared), *prompt(length - shared, 1)), max_new_tokens=0)
    engine.step()
    assert engine.known[second].cached == cached


def test_no_more_is_reused_than_allowed() -> None:
    engine = engine_with(slots=2)
    engine.add(prompt(40))
    engine.run()
    some = engine.add(prompt(40), max_new_tokens=0, reusable=20)
    engine.run()
    none = engine.add(prompt(40), max_new_tokens=0, reusable=0)
    engine.run()
    assert [engine.known[i].cached for i in (some, none)] == [20, 0]


# Holding back until a shared prefix is computed


def test_the_prompt_of_n_completions_is_computed_once() -> None:
    engine = engine_with(slots=8, chunk_tokens=16)
    ids = [engine.add(prompt(66)) for _ in range(8)]
    engine.run()
    assert computed(engine) == 66 + 7
    assert all(engine.done[i] == [67, 68, 69] for i in ids)


def test_a_shared_system_prompt_is_waited_for_and_no_longer() -> None:
    engine = engine_with(slots=2, chunk_tokens=5)
    engine.add(prompt(200), max_new_tokens=0)
    engine.add((*prompt(40), -1), max_new_tokens=0)
    plans = [engine.step() for _ in range(3)]
    assert [len(plan.chunks) for plan in plans] == [1, 1, 2]
    assert plans[2].copies == (Copy(source=0, target=1, count=40),)
    assert engine.known[1].computed == 41


@pytest.mark.parametrize(("shared", "waits"), [(15, False), (16, True)])
def test_a_short_prefix_is_not_waited_for(shared: int, waits: bool) -> None:
    engine = engine_with(slots=2, chunk_tokens=64)
    engine.add(prompt(40), max_new_tokens=0)
    engine.add((*prompt(shared), -1), max_new_tokens=0)
    assert (len(engine.step().chunks) == 1) == waits


def test_nobody_waits_for_a_cancelled_sequence() -> None:
    engine = engine_with(slots=3, chunk_tokens=4)
    first, second, third = (engine.add(prompt(100), max_new_tokens=0) for _ in range(3))
    engine.step()
    engine.scheduler.cancel(first)
    engine.run()
    assert set(engine.done) == {second, third}
    assert computed(engine) == 16 + (100 - 16) + 1


def test_a_held_sequence_can_be_cancelled() -> None:
    engine = engine_with(slots=2, chunk_tokens=4)
    first, held = (engine.add(prompt(100), max_new_tokens=0) for _ in range(2))
    engine.step()
    engine.scheduler.cancel(held)
    engine.run()
    assert set(engine.done) == {first}


# Sharing out a step


def test_a_long_prompt_takes_a_chunk_a_step_while_others_write() -> None:
    engine = engine_with(slots=2, chunk_tokens=10)
    engine.add(prompt(3), max_new_tokens=FAR)
    engine.step()
    engine.add(prompt(35, 1), max_new_tokens=0)
    plans = [engine.step() for _ in range(4)]
    assert [chunk.count for plan in plans for chunk in plan.chunks] == [10, 10, 10, 5]
    assert all(plan.rows == (0,) for plan in plans)


def test_four_chunks_a_step_when_nobody_writes() -> None:
    engine = engine_with(slots=1, chunk_tokens=10)
    engine.add(prompt(50), max_new_tokens=0)
    assert [engine.step().chunks[0].count for _ in range(2)] == [40, 10]


def test_short_prompts_do_not_wait_for_a_long_one_nor_it_for_them() -> None:
    engine = engine_with(slots=5, chunk_tokens=10)
    engine.add(prompt(3, 9), max_new_tokens=FAR)
    engine.step()
    long = engine.add(prompt(100, 1), max_new_tokens=0)
    middle, short = (engine.add(prompt(n, 1 + n), max_new_tokens=0) for n in (8, 3))
    plan = engine.step()
    assert {c.sequence: c.count for c in plan.chunks} == {long: 5, short: 3, middle: 2}


def test_a_prefix_that_somebody_waits_for_counts_as_short() -> None:
    engine = engine_with(slots=5, chunk_tokens=20)
    engine.add(prompt(3, 9), max_new_tokens=FAR)
    engine.step()
    engine.add(prompt(300, 1), max_new_tokens=0)
    engine.add(prompt(30, 2), max_new_tokens=0)
    source = engine.add(prompt(200, 3), max_new_tokens=0)
    held = engine.add((*prompt(20, 3), -1), max_new_tokens=0)
    engine.step()
    assert engine.known[source].computed == 10
    engine.step()
    engine.step()
    assert held in engine.done


def test_chunks_of_one_adapter_are_neighbours() -> None:
    engine = engine_with(slots=6, chunk_tokens=100)
    for family, adapter in enumerate((2, 0, 1, 2, 0, 1)):
        engine.add(prompt(5, family), adapter=adapter)
    plan = engine.step()
    assert [engine.known[c.sequence].adapter for c in plan.chunks] == [0, 0, 1, 1, 2, 2]


def test_a_prompt_that_is_only_read_writes_nothing() -> None:
    engine = engine_with()
    only = engine.add(prompt(5), max_new_tokens=0)
    engine.run()
    assert engine.done == {only: []}
    assert not any(plan.rows for plan in engine.plans)


# What a programmer could get wrong


@pytest.mark.parametrize("wrong", ["slots", "bank_slots", "chunk_tokens"])
def test_sizes_below_one_are_refused(wrong: str) -> None:
    sizes = {"slots": 1, "bank_slots": 1, "chunk_tokens": 1, wrong: 0}
    with pytest.raises(ValueError, match=wrong):
        Scheduler(**sizes, reuse=True)


@pytest.mark.parametrize(("length", "reusable"), [(0, 0), (3, 3), (3, -1)])
def test_the_last_prompt_token_must_be_computed(length: int, reusable: int) -> None:
    scheduler = Scheduler(slots=1, bank_slots=1, chunk_tokens=1, reuse=True)
    with pytest.raises(ValueError, match="reusable"):
        scheduler.add(Sequence(0, 0, prompt(length), 1, reusable))
    assert not scheduler.busy


# What the engine is told


def test_an_adapter_is_used_while_anything_of_it_waits_or_lives() -> None:
    engine = engine_with(slots=1)
    assert not engine.scheduler.uses(1)
    engine.add(prompt(2, 0), adapter=1, max_new_tokens=3)
    engine.add(prompt(2, 1), adapter=2, max_new_tokens=1)
    assert engine.scheduler.uses(1) and engine.scheduler.uses(2)  # both wait
    engine.step()
    assert engine.scheduler.uses(1) and engine.scheduler.waiting_for(1) == 0  # it lives alone
    assert engine.scheduler.uses(2) and not engine.scheduler.uses(3)
    engine.run()
    assert not engine.scheduler.uses(1) and not engine.scheduler.uses(2)


def test_a_plan_names_the_sequences_that_it_admits() -> None:
    engine = engine_with(slots=3)
    first, second = engine.add(prompt(2, 0)), engine.add(prompt(2, 1))
    assert engine.step().admitted == (first, second)
    third = engine.add(prompt(2, 2))
    assert engine.step().admitted == (third,)
    assert engine.step().admitted == ()


@pytest.mark.parametrize("wrong", ["slots", "bank_slots", "chunk_tokens"])
def test_an_engine_without_room_is_refused(wrong: str) -> None:
    options = {"slots": 1, "bank_slots": 1, "chunk_tokens": 1}
    Scheduler(**options, reuse=True)
    with pytest.raises(
        ValueError, match=r"^slots, bank_slots and chunk_tokens must be at least 1$"
    ):
        Scheduler(**(options | {wrong: 0}), reuse=True)


@pytest.mark.parametrize("reusable", [-1, 3])
def test_a_prompt_of_which_nothing_is_left_to_compute_is_refused(reusable: int) -> None:
    scheduler = Scheduler(slots=1, bank_slots=1, chunk_tokens=1, reuse=True)
    with pytest.raises(
        ValueError, match=r"^reusable must be at least 0 and less than the prompt's length$"
    ):
        scheduler.add(Sequence(0, 0, (1, 2, 3), 1, reusable))
    assert not scheduler.busy


def test_two_prefixes_can_be_copied_in_one_step() -> None:
    engine = engine_with(slots=4, chunk_tokens=64)
    for family in (0, 1):
        engine.add(prompt(30, family), max_new_tokens=FAR)
    engine.step()
    others = [engine.add((*prompt(30, family), 7, 7)) for family in (0, 1)]
    copies = engine.step().copies
    assert [copy.count for copy in copies] == [30, 30]
    assert {copy.target for copy in copies} == {engine.known[one].slot for one in others}


# A token in flight


def test_only_the_number_of_tokens_ends_a_sequence_in_advance() -> None:
    engine = engine_with(slots=3)
    short, long = engine.add((1, 2), max_new_tokens=2), engine.add((3, 4), max_new_tokens=3)
    reading = engine.add((5, 6), max_new_tokens=1)
    assert engine.scheduler.continuing([short, long, reading]) == []  # not admitted yet
    engine.scheduler.plan()
    # The first token of each is computed and not reported: it is the only one of the third.
    assert engine.scheduler.continuing([long, reading, short]) == [long, short]
    engine.scheduler.wrote(short, 9)
    engine.scheduler.wrote(long, 9)
    engine.scheduler.finish(reading)
    assert engine.scheduler.continuing([short, long, reading]) == [long]
