"""Steps that are computed before the last tokens are read give what steps in turn give."""

from random import Random

import pytest
import torch

from align.inference import EngineOptions, GenerationRequest, construction, transfers
from align.inference import engine as engine_module
from align.inference.card_sampler import CardSampler
from align.inference.engine import BankEngine
from align.inference.in_flight import InFlight
from tests.waiting import step_until

SLOT_TOKENS = 48
OPTIONS = {"slots": 5, "slot_tokens": SLOT_TOKENS, "adapters": 2, "chunk_tokens": 16}


@pytest.fixture
def make_engine(tiny, make_adapter, monkeypatch):
    """An engine on the CPU that samples as on a card: `ahead` or one step after the other."""
    monkeypatch.setattr(engine_module, "choose_sampler", lambda device: CardSampler)
    folders = {name: make_adapter(name, seed) for seed, name in enumerate(("one", "two", "three"))}

    def make(ahead, **options):
        engine = BankEngine(tiny, EngineOptions(**{**OPTIONS, **options}))
        assert engine._ahead  # the sampler is that of a card
        engine._ahead = ahead
        for name, folder in folders.items():
            engine.load(name, folder)
        return engine

    return make


def random_request(random):
    kinds = [
        {},
        {"logprobs": 2},
        {"temperature": 1.0},
        {"temperature": 0.9, "top_p": 0.8, "logprobs": 0},
        {"temperature": 1.2, "top_k": 30},
        {"temperature": 1.0, "min_new_tokens": 3, "logit_bias": {7: 3.0}},
        {"n": 2, "temperature": 1.5},
    ]
    stops = [
        {},
        {},
        {"stop": ("e", "  ")},
        {"stop": ("xq",)},
        {"stop_ids": tuple(range(0, 250, 9))},
    ]
    options = {**random.choice(kinds), **random.choice(stops)}
    if random.random() < 0.1:
        options["frequency_penalty"] = 0.7
    longest = random.choice((3, 4, 9, 20))
    prompt = [random.randrange(20, 250) for _ in range(random.randint(1, SLOT_TOKENS - longest))]
    return GenerationRequest(
        prompt,
        random.choice((None, "one", "two", "three")),
        max_new_tokens=longest,
        seed=random.randrange(1000),
        ignore_eos=random.random() < 0.5,
        **options,
    )


def workload(seed, cancels, count=24):
    """(Step at which it comes, request, tokens after which it is cancelled or None)."""
    random = Random(seed)
    return [
        (
            random.randrange(40),
            random_request(random),
            random.randint(0, 6) if cancels and random.random() < 0.3 else None,
        )
        for _ in range(count)
    ]


def run(engine, jobs):
    """Completions and streamed texts, by job and number within it."""
    names, limits, texts, done = {}, {}, {}, {}
    step = 0
    while step < 40 or engine.busy:
        for job, (start, request, limit) in enumerate(jobs):
            if start == step:
                for index, sequence in enumerate(engine.submit(request)):
                    names[sequence], limits[sequence] = (job, index), limit
                    texts[job, index] = ""
                    if limit == 0:
                        engine.cancel(sequence)
        for update in engine.step():
            texts[names[update.sequence]] += update.text
            if update.done:
                done[names[update.sequence]] = update.completion
            elif len(update.completion.token_ids) == limits[update.sequence]:
                engine.cancel(update.sequence)
        step += 1
        assert step < 2000
    return done, texts


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("cancels", [False, True])
def test_a_random_workload_has_the_same_results(make_engine, seed, reuse, cancels):
    jobs = workload(seed, cancels)
    expected, expected_texts = run(make_engine(ahead=False, reuse=reuse), jobs)
    done, texts = run(make_engine(ahead=True, reuse=reuse), jobs)
    assert texts == expected_texts
    assert done.keys() == expected.keys()
    fields = ["token_ids", "text", "finish_reason", "ended"]
    if not (reuse and cancels):  # a cancelled prompt, seen a step later, may be further computed
        fields.append("cached_tokens")
    reasons = set()
    for name, completion in expected.items():
        other = done[name]
        for field in fields:
            assert getattr(other, field) == getattr(completion, field), (name, field)
        for one, two in zip(completion.logprobs, other.logprobs, strict=True):
            assert two.logprob == pytest.approx(one.logprob, abs=1e-4)
            assert [token for token, _ in two.top] == [token for token, _ in one.top]
        reasons.add(completion.finish_reason)
    assert reasons == {"stop", "length"} | ({"cancelled"} if cancels else set())


def test_steps_that_are_captured_as_graphs_have_the_same_results(make_engine, monkeypatch):
    """Graphs share their inputs and their logits, which each step overwrites."""
    jobs = workload(7, cancels=False)
    expected, expected_texts = run(make_engine(ahead=False, reuse=False), jobs)
    monkeypatch.setattr(construction, "capture_for", lambda *_: lambda work: work)
    done, texts = run(make_engine(ahead=True, reuse=False), jobs)
    assert texts == expected_texts
    assert {name: one.token_ids for name, one in done.items()} == {
        name: one.token_ids for name, one in expected.items()
    }


class Order:
    """The order in which steps are queued and tokens are read."""

    def __init__(self, engine, monkeypatch):
        self.events, self.positions = [], []
        write, wait = engine._model.write, transfers.Download.wait

        def noted_write(rows, *tokens):
            self.events.append("write")
            self.positions += [row.position for row in rows]
            return write(rows, *tokens)

        def noted_wait(download):
            self.events.append("read")
            return wait(download)

        monkeypatch.setattr(engine._model, "write", noted_write)
        monkeypatch.setattr(transfers.Download, "wait", noted_wait)


def test_a_step_is_queued_before_the_tokens_of_the_last_are_read(make_engine, monkeypatch):
    engine = make_engine(ahead=True)
    order = Order(engine, monkeypatch)
    engine.generate([GenerationRequest([5, 6, 7], max_new_tokens=4, ignore_eos=True)])
    assert order.events == ["write", "read"] * 3 + ["read"]  # the last token ends it by its number


def test_penalties_wait_for_the_token_that_they_count(make_engine, monkeypatch):
    engine = make_engine(ahead=True)
    order = Order(engine, monkeypatch)
    penalised = {"frequency_penalty": 0.5, "ignore_eos": True}
    engine.generate([GenerationRequest([5, 6, 7], max_new_tokens=4, **penalised)])
    assert order.events == ["read", "write"] * 3 + ["read"]


def test_no_position_beyond_the_slot_is_written(make_engine, monkeypatch):
    engine = make_engine(ahead=True, slots=2)
    order = Order(engine, monkeypatch)
    prompt = list(range(20, 20 + SLOT_TOKENS - 6))
    engine.generate([GenerationRequest(prompt, max_new_tokens=6, ignore_eos=True)] * 3)
    assert max(order.positions) == SLOT_TOKENS - 2  # the last token's keys are never needed


def test_the_surplus_token_of_an_ended_sequence_is_no_prefix(make_engine):
    prompt = [30 + at for at in range(20)]
    free = make_engine(ahead=False).generate([GenerationRequest(prompt, max_new_tokens=12)])[0]
    stop = free.token_ids[3]
    first = free.token_ids.index(stop)
    engine = make_engine(ahead=True)
    ended = engine.generate([GenerationRequest(prompt, max_new_tokens=12, stop_ids=(stop,))])[0]
    assert ended.token_ids == free.token_ids[:first] and ended.ended == stop
    longer = GenerationRequest([*prompt, *ended.token_ids, stop, 55, 56], max_new_tokens=8)
    expected = make_engine(ahead=False).generate([longer])[0]
    again = engine.generate([longer])[0]
    assert again.token_ids == expected.token_ids
    assert again.cached_tokens == len(prompt) + first  # what was computed, without the stop


def test_a_sequence_that_is_cancelled_in_flight_gets_no_token_more(make_engine):
    engine = make_engine(ahead=True)
    (sequence,) = engine.submit(GenerationRequest([5, 6, 7], max_new_tokens=9, ignore_eos=True))
    assert engine.step() == []  # the first token is computed and not read
    engine.cancel(sequence)
    (update,) = engine.step()
    assert update.done and update.completion.finish_reason == "cancelled"
    assert update.completion.token_ids == []
    assert not engine.busy and engine.step() == []


def test_a_step_that_fails_leaves_nothing_in_flight(make_engine, monkeypatch):
    engine, request = make_engine(ahead=True), GenerationRequest([5, 6, 7], max_new_tokens=5)
    expected = engine.generate([request])[0].token_ids
    engine.submit(request)
    engine.step()
    write = engine._model.write
    monkeypatch.setattr(engine._model, "write", lambda *_: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(RuntimeError):
        step_until(lambda: not engine.busy, engine.step)
    assert not engine.busy
    monkeypatch.setattr(engine._model, "write", write)
    assert engine.generate([request])[0].token_ids == expected


class Known:
    """A launch whose tokens are known."""

    def __init__(self, *tokens):
        self.tokens = torch.tensor(tokens)


def test_tokens_are_selected_on_the_device():
    flying = InFlight()
    flying.add(Known(10, 11), [4, 2])
    assert flying.tokens([4, 2]).tolist() == [10, 11]
    flying.add(Known(12), [9])
    assert flying.tokens([4, 2, 9]).tolist() == [10, 11, 12]
    assert flying.tokens([9, 4]).tolist() == [12, 10]
