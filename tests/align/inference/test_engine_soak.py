"""Everything at once, at random, for a while: each answer is the one that is known."""

from random import Random

import pytest
import torch

from align.adapters.tensors import LoraFactors
from align.inference import EngineOptions, GenerationRequest
from align.inference.engine import BankEngine
from tests.waiting import step_until

ADAPTERS, BANK_SLOTS, SLOTS = 24, 4, 12
LONGEST = 24
COMMON = [50 + 7 * at % 150 for at in range(40)]
PROMPTS = (COMMON[:3], [*COMMON[:30], 9, 8], [*COMMON, 21, 22, 23], [90, *COMMON[:17]])
OPTIONS = {"slot_tokens": 80, "adapters": BANK_SLOTS, "chunk_tokens": 16, "max_rank": 16}


def random_factors(base, seed):
    """Some modules, some rank, strong enough that answers differ."""
    generator, random = torch.Generator().manual_seed(seed), Random(seed)
    linears = [
        (name, one)
        for name, one in base.model.named_modules()
        if isinstance(one, torch.nn.Linear) and "layers" in name
    ]
    factors = LoraFactors()
    for name, one in random.sample(linears, random.randint(3, len(linears))):
        rank = random.randint(1, 9)
        a = torch.randn(rank, one.in_features, generator=generator) * 0.1
        factors.modules[name] = (a, torch.randn(one.out_features, rank, generator=generator) * 0.3)
    return factors


def known_answers(base, weights):
    """By weights and prompt: what an engine writes that does one thing at a time."""
    engine, answers = BankEngine(base, EngineOptions(slots=1, reuse=False, **OPTIONS)), {}
    for name, factors in weights.items():
        if factors is not None:
            engine.load(str(name), factors)
        for at, prompt in enumerate(PROMPTS):
            adapter = None if factors is None else str(name)
            wanted = {"ignore_eos": True, "logprobs": 0, "prompt_logprobs": 1}
            request = GenerationRequest(prompt, adapter, LONGEST, **wanted)
            answers[name, at] = engine.generate([request])[0]
    return answers


class Soak:
    """One engine and what is expected of every sequence that it has been given."""

    def __init__(self, base, seed):
        self.random = Random(seed)
        # Two sets of weights for each id, so that a reload can be told from what was before.
        self.weights = {
            (adapter, version): random_factors(base, 2 * adapter + version)
            for adapter in range(ADAPTERS)
            for version in range(2)
        }
        self.answers = known_answers(base, {None: None, **self.weights})
        self.engine = BankEngine(base, EngineOptions(slots=SLOTS, **OPTIONS))
        self.version = {}
        self.expected = {}
        self.streamed = {}
        self.cancelled = set()
        self.completed = self.reused = self.reloads = 0

    def run(self, turns, after=lambda turn: None):
        """Random turns, then everything to its end."""
        for turn in range(turns):
            self.turn()
            after(turn)
        step_until(lambda: not self.engine.busy, lambda: self.take(self.engine.step()))

    def turn(self):
        for _ in range(self.random.choice((0, 0, 0, 1, 1, 3))):
            if len(self.expected) < 5 * SLOTS:
                self.join()
        if self.expected and self.random.random() < 0.1:
            one = self.random.choice(list(self.expected))
            self.engine.cancel(one)
            self.cancelled.add(one)
        if self.random.random() < 0.15:
            self.reload(self.random.randrange(ADAPTERS))
        self.take(self.engine.step())

    def reload(self, adapter):
        if adapter in self.version and self.random.random() < 0.7:
            self.engine.unload(str(adapter))
            del self.version[adapter]
        if adapter not in self.version and self.random.random() < 0.9:
            self.version[adapter] = self.random.randrange(2)
            self.engine.load(str(adapter), self.weights[adapter, self.version[adapter]])
            self.reloads += 1

    def join(self):
        # A few are in demand, most hardly ever: residents come and go.
        known = [None, *sorted(self.version)]
        adapter = known[min(int(self.random.expovariate(0.15)), len(known) - 1)]
        weights = None if adapter is None else (adapter, self.version[adapter])
        prompt, kind = self.random.randrange(len(PROMPTS)), self.random.random()
        options = {"max_new_tokens": self.random.randint(1, LONGEST), "ignore_eos": True}
        if kind < 0.15:
            options |= {"n": 3}
        elif kind < 0.25:
            options |= {"temperature": 1.0, "top_p": 0.9}
        elif kind < 0.35:
            options |= {"logprobs": 2, "prompt_logprobs": 1}
        name = None if adapter is None else str(adapter)
        request = GenerationRequest(PROMPTS[prompt], name, **options)
        for sequence in self.engine.submit(request):
            self.expected[sequence] = (request, self.answers[weights, prompt])
            self.streamed[sequence] = ""

    def take(self, updates):
        for update in updates:
            self.streamed[update.sequence] += update.text
            if update.done:
                self.check(update.sequence, update.completion)

    def check(self, sequence, done):
        request, answer = self.expected.pop(sequence)
        assert self.streamed.pop(sequence) == done.text
        count = len(done.token_ids)
        if sequence in self.cancelled:
            self.cancelled.discard(sequence)
            assert done.finish_reason in ("cancelled", "length")
        else:
            assert (done.finish_reason, count) == ("length", request.max_new_tokens)
            self.completed += 1
        if request.temperature == 0:
            assert done.token_ids == answer.token_ids[:count]
        if request.logprobs is not None:
            wanted = [one.logprob for one in answer.logprobs[:count]]
            assert [one.logprob for one in done.logprobs] == pytest.approx(wanted, abs=1e-3)
            read = answer.prompt_logprobs[: len(done.prompt_logprobs)]
            assert done.prompt_logprobs == pytest.approx(read, abs=1e-3)
            assert done.finish_reason == "cancelled" or len(read) == len(request.prompt_ids) - 1
        self.reused += done.cached_tokens > 0

    def is_empty(self):
        """All slots are to be had at once again, and nothing is kept of what is over."""
        assert not self.expected and not self.streamed
        assert self.engine.step() == []
        for adapter in list(self.version):
            self.reload_nothing(adapter)
        assert self.engine.loaded == set()
        crowd = [GenerationRequest(PROMPTS[0], max_new_tokens=2, ignore_eos=True)] * SLOTS
        sequences = [one for request in crowd for one in self.engine.submit(request)]
        for _ in range(2):
            self.engine.step()
        assert len(sequences) == SLOTS
        step_until(lambda: not self.engine.busy, self.engine.step)

    def reload_nothing(self, adapter):
        self.engine.unload(str(adapter))
        del self.version[adapter]


def test_a_short_soak(tiny):
    soak = Soak(tiny, seed=1)
    soak.run(1000)
    assert soak.completed > 30 and soak.reused > 5 and soak.reloads > ADAPTERS
    soak.is_empty()
