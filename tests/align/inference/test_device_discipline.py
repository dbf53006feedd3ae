"""The engine on tensors that claim to be on a card: no devices mixed, few values read back.

The numbers of reads are what the code does, as a bound that may only fall: each read makes the host
wait until the card has done all that was asked of it.
"""

from dataclasses import replace

import pytest
import torch

from align.adapters.tensors import read_factors
from align.inference import GenerationRequest
from align.inference.engine import BankEngine
from align.inference.kernels.plain import PlainOps
from align.inference.modeling import cuda_graphs
from align.inference.modeling import model as model_module
from align.inference.options import EngineOptions
from tests.align.inference.tiny_families import assorted, random_adapter, random_base, random_tokens
from tests.card import Card, on_card

OPTIONS = EngineOptions(slots=12, slot_tokens=128, adapters=2, max_rank=64, cuda_graphs=False)
PROMPTS = [random_tokens(seed, 5 + 7 * seed) for seed in range(4)]
#: Ways to sample.
SAMPLING = {
    "greedy": {},
    "all": {"temperature": 1.0, "seed": 5},
    "top_k": {"temperature": 0.7, "top_k": 9, "top_p": 0.8, "seed": 5},
    "nucleus": {"temperature": 1.3, "top_p": 0.7, "seed": 5},
    "penalties": {"frequency_penalty": 0.4, "presence_penalty": 0.2},
    "bias": {"logit_bias": {7: 2.5, 9: -100.0}},
    "late end": {"min_new_tokens": 4},
    "logprobs": {"logprobs": 3},
}


@pytest.fixture
def card():
    with Card() as card:
        yield card


@pytest.fixture(scope="module")
def base():
    return random_base("llama", _NoTokenizer())


class _NoTokenizer:
    """What the engine takes of a tokenizer."""

    eos_token_id = 1

    def decode(self, tokens, **_):
        return " ".join(map(str, tokens))


def of_card(base):
    return replace(base, model=on_card(base.model))


def on_cpu(base, adapters, requests, monkeypatch):
    """What the same operations write on the CPU."""
    with monkeypatch.context() as patch:
        patch.setattr(model_module, "choose_ops", lambda device, dtype: PlainOps())
        engine = BankEngine(base, OPTIONS)
        for name, adapter in adapters.items():
            engine.load(name, adapter.folder)
        return engine.generate(requests)


def check_same(ours, theirs):
    """The same tokens, and their log-probabilities up to sums in another order.

    A nucleus is drawn from in another way on a CPU, with the same distribution.
    """
    assert [one.token_ids for one in ours] == [one.token_ids for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        for token, expected in zip(one.logprobs, other.logprobs, strict=True):
            assert token.logprob == pytest.approx(expected.logprob, abs=1e-4)
            assert dict(token.top) == pytest.approx(dict(expected.top), abs=1e-4)


def run(card, engine, requests):
    """Completions in order, and the reads of each step."""
    order = [sequence for request in requests for sequence in engine.submit(request)]
    done, steps = {}, []
    while engine.busy:
        before = len(card.reads)
        for update in engine.step():
            if update.done:
                done[update.sequence] = update.completion
        steps.append(len(card.reads) - before)
    return [done[sequence] for sequence in order], steps


@pytest.fixture
def adapters(base, tmp_path):
    return assorted(base, tmp_path)


@pytest.fixture
def engine(card, base, adapters):
    engine = BankEngine(of_card(base), OPTIONS)
    for name, adapter in adapters.items():
        engine.load(name, adapter.folder)
    return engine


def requests(adapters, **sampling):
    names = [None, *adapters]
    return [
        GenerationRequest(prompt, names[at % 3], 6, **sampling) for at, prompt in enumerate(PROMPTS)
    ]


@pytest.mark.parametrize(("name", "sampling"), SAMPLING.items(), ids=SAMPLING.keys())
def test_a_step_reads_back_once_what_was_sampled(
    card, base, engine, adapters, monkeypatch, name, sampling
):
    asked = requests(adapters, **sampling)
    completions, steps = run(card, engine, asked)
    assert max(steps) == 1
    assert sum(steps) >= 6
    if name != "nucleus":
        check_same(completions, on_cpu(base, adapters, asked, monkeypatch))


@pytest.mark.parametrize(("name", "uploads"), [("greedy", 1), ("top_k", 2)])
def test_a_decode_step_sends_little_to_the_card(card, engine, adapters, name, uploads):
    """The model's inputs in one transfer, and what sampling needs in another."""
    for request in requests(adapters, **SAMPLING[name]):
        engine.submit(request)
    engine.step()  # prompts
    while engine.busy:
        before = len(card.uploads)
        engine.step()
        assert len(card.uploads) - before <= uploads


def test_rows_of_all_kinds_share_a_step(card, base, engine, adapters, monkeypatch):
    asked = [
        GenerationRequest(PROMPTS[at % 4], (None, "all")[at % 2], 6, **sampling)
        for at, sampling in enumerate(SAMPLING.values())
    ]
    completions, steps = run(card, engine, asked)
    assert max(steps) <= 2  # the tokens of rows that decode, and of prompts that end
    expected, at = on_cpu(base, adapters, asked, monkeypatch), list(SAMPLING).index("nucleus")
    del completions[at], expected[at]
    check_same(completions, expected)


def test_recorded_steps_obey_too(card, base, adapters, monkeypatch):
    """What is captured must neither read back nor send anything."""
    recorded = []

    def record(work):
        before = len(card.uploads)
        with card.at_most(reads=0):
            work()
        assert len(card.uploads) == before
        recorded.append(work)
        return work

    monkeypatch.setattr(cuda_graphs, "CudaCapture", lambda: record)
    engine = BankEngine(of_card(base), replace(OPTIONS, cuda_graphs=True))
    for name, adapter in adapters.items():
        engine.load(name, adapter.folder)
    engine.capture_graphs()
    assert recorded
    asked = requests(adapters)
    completions, steps = run(card, engine, asked)
    assert max(steps) == 1
    check_same(completions, on_cpu(base, adapters, asked, monkeypatch))


def test_prefixes_are_copied_and_adapters_take_turns(card, base, adapters, monkeypatch, tmp_path):
    """More adapters than bank slots, one of them taller than all before; prompts in pieces."""
    tall = random_adapter(base, tmp_path / "tall", 9, r=48, target_modules="all-linear")
    adapters |= {"tall": tall}
    engine = BankEngine(of_card(base), replace(OPTIONS, chunk_tokens=16))
    for name, adapter in adapters.items():
        engine.load(name, adapter.folder)
    shared = random_tokens(3, 40)
    asked = [
        GenerationRequest([*shared, 5 + at], name, 4, n=2)
        for at in range(2)
        for name in (None, *adapters)
    ]
    evicted = 0
    order = [sequence for request in asked for sequence in engine.submit(request)]
    done = {}
    while engine.busy:
        with card.at_most(reads=2):  # the tokens of rows that decode, and of prompts that end
            updates = engine.step()
        evicted += len(engine.traffic.evicted)
        done |= {update.sequence: update.completion for update in updates if update.done}
    completions = [done[sequence] for sequence in order]
    assert evicted
    assert any(completion.cached_tokens >= 32 for completion in completions)
    expected = on_cpu(base, adapters, asked, monkeypatch)
    assert [one.token_ids for one in completions] == [one.token_ids for one in expected]


def test_loading_an_adapter_reads_only_whether_it_is_finite(card, base, adapters):
    engine = BankEngine(of_card(base), OPTIONS)
    saved = adapters["all"]
    with card.at_most(reads=1):
        engine.load("all", saved.folder)
    engine.load("of the card", _moved(saved.factors, "cuda"))
    one, two = run(
        card, engine, [GenerationRequest(PROMPTS[1], name, 4) for name in ("all", "of the card")]
    )[0]
    assert one.token_ids == two.token_ids


def _moved(factors, device):
    modules = {name: (a.to(device), b.to(device)) for name, (a, b) in factors.modules.items()}
    return replace(factors, modules=modules)


def test_what_a_prompt_itself_gives_is_read_once_a_prompt(
    card, base, engine, adapters, monkeypatch
):
    asked = [
        GenerationRequest(prompt, name, 0, prompt_logprobs=1)
        for prompt, name in zip(PROMPTS, (None, *adapters), strict=True)
    ]
    completions, steps = run(card, engine, asked)
    assert max(steps) <= len(asked)
    for ours, theirs in zip(completions, on_cpu(base, adapters, asked, monkeypatch), strict=True):
        assert ours.prompt_logprobs == pytest.approx(theirs.prompt_logprobs, abs=1e-5)


def test_a_score_is_read_once_a_prompt(card, base, engine, adapters):
    head = torch.randn(1, base.model.config.hidden_size)
    factors = replace(read_factors(adapters["mlp"].folder), score=head)
    engine.load("judge", factors)
    asked = [GenerationRequest(prompt, "judge", 0, score=True) for prompt in PROMPTS]
    completions, steps = run(card, engine, asked)
    assert max(steps) <= len(asked)
    assert len({completion.score for completion in completions}) == len(asked)


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("qwen2", {}),
        ("qwen3", {"head_dim": 16}),
        ("mistral", {"sliding_window": 8}),
        ("olmo2", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_families(card, monkeypatch, tmp_path, family, shape):
    """With biases, norms of heads, a window, and with transformers' own layers."""
    base = random_base(family, _NoTokenizer(), **shape)
    adapters = assorted(base, tmp_path)
    engine = BankEngine(of_card(base), OPTIONS)
    for name, adapter in adapters.items():
        engine.load(name, adapter.folder)
    asked = requests(adapters)
    completions, steps = run(card, engine, asked)
    assert max(steps) <= 1
    expected = on_cpu(base, adapters, asked, monkeypatch)
    assert [one.token_ids for one in completions] == [one.token_ids for one in expected]
