"""An engine's sizes on a card, with what is free on it given."""

import pytest
import torch

from align.adapters.tensors import read_factors
from align.errors import AdapterError, RequestError
from align.inference import EngineOptions, GenerationRequest, construction, load_engine
from align.inference.construction import decoder_sizes, engine_sizes
from align.inference.engine import BankEngine
from align.inference.kernels.plain import PlainOps
from align.inference.modeling import model as model_module
from align.inference.options import KV_BYTES_ON_CPU
from align.memory.engine import sizes_of
from align.memory.machines import Machine
from align.memory.shape import read_shape
from align.sources import TINY

MIB = 2**20
BESIDE = EngineOptions(slots=4, kv_bytes=4 * 2000 * 512, first_tokens=256, adapters=2)


def test_sizes_are_those_of_the_configuration(tiny) -> None:
    machine = Machine("cpu", 0, "float32" if _width(tiny) == 4 else "bfloat16", "cpu")
    assert decoder_sizes(tiny) == sizes_of(read_shape(TINY), machine)


def _width(base) -> int:
    return next(base.model.parameters()).dtype.itemsize


def test_a_processor_has_its_fixed_bound_and_a_card_what_is_free(tiny) -> None:
    options = EngineOptions(slots=4, adapters=2)
    token = decoder_sizes(tiny).token_bytes
    assert engine_sizes(tiny, options, lambda _: None).slot_tokens == min(
        2048, KV_BYTES_ON_CPU // (4 * token)
    )
    least = engine_sizes(tiny, options, lambda _: 20 * MIB)
    most = engine_sizes(tiny, options, lambda _: 2**34)
    assert least.slot_tokens < most.slot_tokens == 2048
    assert least.first_tokens == least.slot_tokens


def test_nothing_is_allocated_that_does_not_fit(tiny, monkeypatch) -> None:
    monkeypatch.setattr(construction, "Model", None)  # would fail
    with pytest.raises(RequestError, match=r"the engine needs .* GiB of this GPU"):
        BankEngine(tiny, EngineOptions(slots=64), free=lambda _: MIB)


def test_ranks_that_the_card_has_no_room_for_are_refused(tiny, make_adapter) -> None:
    options = EngineOptions(slots=2, slot_tokens=32, adapters=8)
    free = next(size for size in range(MIB, 64 * MIB, MIB // 4) if _fits(tiny, options, size))
    engine = BankEngine(tiny, options, free=lambda _: free)
    engine.load("small", read_factors(make_adapter("small", 1, r=8)))
    with pytest.raises(AdapterError, match="rank 32"):
        engine.load("tall", read_factors(make_adapter("tall", 2, r=32)))


def _fits(base, options: EngineOptions, size: int) -> bool:
    try:
        engine_sizes(base, options, lambda _: size)
    except RequestError:
        return False
    return True


def test_slots_begin_short_and_answers_stay_the_same(tiny, monkeypatch, make_adapter) -> None:
    monkeypatch.setattr(model_module, "choose_ops", lambda device, dtype: PlainOps())
    folder = make_adapter("one", 1)
    prompts = [list(range(5, 5 + count)) for count in (20, 120, 250)] + [[7] * 900]
    requests = [
        GenerationRequest(prompt, "one", max_new_tokens=20, temperature=at / 2, seed=at)
        for at, prompt in enumerate(prompts)
    ]
    long, short = BankEngine(tiny, BESIDE), BankEngine(tiny, BESIDE, free=lambda _: 2**34)
    assert (short._model.cache.tokens, short.context_length) == (256, long.context_length)
    assert long._model.cache.tokens == long.context_length  # memory of a CPU is taken as it is used
    for engine in (long, short):
        engine.load("one", folder)
    first = [engine.submit(requests[0])[0] for engine in (long, short)]
    for engine in (long, short):
        engine.step()  # a sequence that is under way while the slots grow
    answers = [engine.generate(requests[1:]) for engine in (long, short)]
    assert [one.token_ids for one in answers[0]] == [one.token_ids for one in answers[1]]
    assert short._model.cache.tokens == 1024
    assert len(first) == 2 and not short.busy


def test_room_can_be_reserved_and_is_bounded(tiny) -> None:
    engine = BankEngine(tiny, BESIDE, free=lambda _: 2**34)
    engine.reserve(300)
    assert engine._model.cache.tokens == 512
    engine.reserve(100)
    assert engine._model.cache.tokens == 512
    engine.reserve(10**6)
    assert engine._model.cache.tokens == engine.context_length
    with pytest.raises(RequestError, match="a slot holds"):
        engine.submit(GenerationRequest([5] * 3000, max_new_tokens=1))


@pytest.fixture
def captured(monkeypatch):
    """The shapes that engines capture, as if they were on a card; steps are repeated in torch."""
    shapes = []

    def capture(work):
        shapes.append(work.args)
        work()
        return work

    monkeypatch.setattr(model_module, "choose_ops", lambda device, dtype: PlainOps())
    monkeypatch.setattr(construction, "capture_for", lambda config, device: capture)
    return shapes


def test_an_engine_that_serves_captures_at_the_start(captured) -> None:
    engine = load_engine("tiny-random", EngineOptions(slots=2, slot_tokens=64))
    before = list(captured)
    assert before
    engine.generate([GenerationRequest([5, 6, 7], max_new_tokens=4)])
    assert captured == before
    load_engine("tiny-random", EngineOptions(slots=2, slot_tokens=64, cuda_graphs=False))
    assert captured == before


def test_after_the_bank_has_grown_shapes_in_use_are_captured(captured, tiny, make_adapter) -> None:
    engine = BankEngine(tiny, EngineOptions(slots=8, slot_tokens=512, adapters=2))
    engine.capture_graphs()
    count = len(captured)
    engine.load("one", make_adapter("one", 1))
    engine.submit(GenerationRequest([5, 6, 7], "one", max_new_tokens=50, ignore_eos=True))
    numbers = []
    while engine.busy:
        engine.step()
        numbers.append(len(captured) - count)
    assert sorted(set(numbers)) == [0, 1]  # a step reads the prompt, and all others are of a shape
    assert numbers.index(1) == 1 and captured[-1][1]


def test_logits_are_used_before_they_are_overwritten(
    captured, tiny, make_adapter, monkeypatch
) -> None:
    """Sampling, log-probabilities and several rows: nothing reads a step's logits too late."""
    folders = {name: make_adapter(name, number) for number, name in enumerate(("one", "two"))}
    requests = [
        GenerationRequest([5 + at, 6, 7], name, 12, temperature=at % 2, seed=at, logprobs=2)
        for at, name in enumerate(("one", "two", None, "one"))
    ]
    options = EngineOptions(slots=4, slot_tokens=64, adapters=2)
    graphed = BankEngine(tiny, options)
    monkeypatch.setattr(construction, "capture_for", lambda config, device: None)
    plain = BankEngine(tiny, options)
    answers = []
    for engine in (plain, graphed):
        for name, folder in folders.items():
            engine.load(name, folder)
        answers.append(engine.generate(requests))
    assert len(captured) > 0
    for one, other in zip(*answers, strict=True):
        assert one.token_ids == other.token_ids
        torch.testing.assert_close(
            torch.tensor([token.logprob for token in one.logprobs]),
            torch.tensor([token.logprob for token in other.logprobs]),
            atol=2e-2 if _width(tiny) == 2 else 1e-4,
            rtol=0,
        )
