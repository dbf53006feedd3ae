"""The samplers against a plain reference that looks at one row at a time and sorts everything."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
)

from align.inference.card_sampler import CardSampler
from align.inference.sampler import Sampler
from align.inference.sampling_ops import likeliest
from align.inference.types import GenerationRequest
from tests.align.inference.sampling_reference import ENDS, VOCABULARY, Reference, requests

CPU = torch.device("cpu")
samplers = pytest.mark.parametrize("kind", [Sampler, CardSampler])


@samplers
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(requests, st.integers(0, 3)), min_size=1, max_size=9), st.data())
def test_every_row_of_a_batch_is_the_reference(kind, rows, data):
    sampler = kind(VOCABULARY, ENDS, CPU)
    references = {}
    for sequence, (request, index) in enumerate(rows):
        sampler.add(sequence, request, index)
        references[sequence] = Reference(request, index, kind is CardSampler)
    noise = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    for _ in range(4):  # quarters: many equal logits, as in bf16
        sequences = data.draw(st.permutations(range(len(rows))))[: data.draw(st.integers(1, 9))]
        logits = (torch.randn(len(sequences), VOCABULARY, generator=noise) * 8).round() / 4
        want = [
            references[one].pick(row) for one, row in zip(sequences, logits.tolist(), strict=True)
        ]
        assert [one.token for one in sampler.pick(logits, sequences)] == want


@samplers
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_greedy_takes_the_first_of_the_largest(kind, dtype):
    logits = (torch.randn(33, 1001) * 2).round().to(dtype)
    want = logits.double().numpy().argmax(-1).tolist()
    assert likeliest(logits).tolist() == want
    picked = kind(1001, ENDS, CPU).pick(logits, range(33))
    assert [one.token for one in picked] == want
    assert all(one.logprobs is None for one in picked)


@samplers
def test_top_p_is_of_what_top_k_leaves_whatever_the_neighbours_ask_for(kind):
    """Eight tokens of equal weight; rows of a batch differ in both."""
    wanted = {  # (top_p, top_k): how many of the first ids may come
        (0.5, 0): 4, (0.51, 0): 5, (1.0, 1): 1, (1.0, 3): 3, (0.5, 4): 2, (0.51, 4): 3, (1.0, 6): 6,
    }  # fmt: skip
    asked = [one for one in wanted for _ in range(100)]
    sampler = kind(8, frozenset(), CPU)
    for row, (top_p, top_k) in enumerate(asked):
        request = GenerationRequest((1,), temperature=1.0, top_p=top_p, top_k=top_k, seed=row)
        sampler.add(row, request, 0)
    drawn: dict[tuple[float, int], set[int]] = {}
    for one, picked in zip(asked, sampler.pick(torch.zeros(700, 8), range(700)), strict=True):
        drawn.setdefault(one, set()).add(picked.token)
    assert drawn == {one: set(range(count)) for one, count in wanted.items()}


def generated(kind, request, index=0, beside=(), steps=12):
    sampler = kind(500, ENDS, CPU)
    for sequence, (other, place) in enumerate([(request, index), *beside]):
        sampler.add(sequence, other, place)
    noise = torch.Generator().manual_seed(1)
    rows = range(1 + len(beside))
    tokens = []
    for _ in range(steps):
        logits = torch.randn(1, 500, generator=noise).expand(len(rows), -1)
        tokens.append(sampler.pick(logits, rows)[0].token)
    return tokens


@samplers
@pytest.mark.parametrize("options", [{}, {"top_p": 0.9}, {"top_k": 40}, {"logprobs": 2}])
def test_a_seeded_row_does_not_depend_on_its_neighbours(kind, options):
    warm = GenerationRequest((1,), temperature=1.2, seed=11, **options)
    others = [(GenerationRequest((1,), temperature=at / 2, top_p=0.8), at) for at in range(5)]
    assert generated(kind, warm) == generated(kind, warm, beside=others)


@samplers
def test_completions_of_a_request_have_their_own_seeds(kind):
    def seeded(seed):
        return GenerationRequest((1,), temperature=1.5, seed=seed)

    assert generated(kind, seeded(4), index=3) == generated(kind, seeded(7), index=0)
    assert generated(kind, seeded(4), index=0) != generated(kind, seeded(4), index=1)
    assert generated(kind, seeded(-1), index=0) != generated(kind, seeded(-1), index=2)
    assert generated(kind, seeded(None)) != generated(kind, seeded(None))


@samplers
def test_logprobs_are_the_models_own(kind):
    odd = {"temperature": 1.9, "logit_bias": {5: 100.0}, "presence_penalty": 2.0, "seed": 1}
    sampler = kind(200, ENDS, CPU)
    sampler.add(0, GenerationRequest((1,), logprobs=3, **odd), 0)
    sampler.add(1, GenerationRequest((1,)), 0)
    sampler.add(2, GenerationRequest((1,), logprobs=0), 0)
    logits = torch.randn(3, 200).bfloat16()
    logits[0, [9, 8]] = 20.0
    logs = logits.double().log_softmax(-1)
    first, second, third = sampler.pick(logits, [0, 1, 2])
    assert first.token == 5
    assert first.logprobs.logprob == pytest.approx(float(logs[0, 5]), abs=1e-5)
    ids, values = zip(*first.logprobs.top, strict=True)
    assert ids[:2] == (8, 9) and len(ids) == 3
    assert values == pytest.approx(logs[0, list(ids)].tolist(), abs=1e-5)
    assert second.logprobs is None
    assert third.logprobs.top == ()
    assert third.logprobs.logprob == pytest.approx(float(logs[2].max()), abs=1e-5)


@samplers
def test_penalties_count_what_was_written(kind):
    sampler = kind(10, frozenset(), CPU)
    sampler.add(0, GenerationRequest((1,), frequency_penalty=0.5), 0)
    sampler.add(1, GenerationRequest((1,), presence_penalty=1.5), 0)
    logits = torch.tensor([[0.0, 4.0, 3.2, 2.0, 0, 0, 0, 0, 0, 0]]).expand(2, -1)
    steps = [[one.token for one in sampler.pick(logits, [0, 1])] for _ in range(5)]
    assert [step[0] for step in steps] == [1, 1, 2, 1, 2]
    assert [step[1] for step in steps] == [1, 2, 1, 1, 1]


@samplers
def test_no_end_before_the_least_number_of_tokens(kind):
    logits = torch.zeros(3, 10)
    logits[:, 3], logits[:, 5], logits[:, 8] = 9.0, 8.0, 7.0
    sampler = kind(10, ENDS, CPU)
    sampler.add(0, GenerationRequest((1,), min_new_tokens=2), 0)
    sampler.add(1, GenerationRequest((1,), min_new_tokens=2, stop_ids=(5,)), 0)
    sampler.add(2, GenerationRequest((1,), min_new_tokens=2, stop_ids=(3,), ignore_eos=True), 0)
    steps = [[one.token for one in sampler.pick(logits, range(3))] for _ in range(3)]
    assert steps == [[5, 8, 5], [5, 8, 5], [3, 3, 3]]


@samplers
def test_extremes_are_greedy(kind):
    logits = torch.randn(4, 300)
    sampler = kind(300, ENDS, CPU)
    sampler.add(0, GenerationRequest((1,), temperature=1.0, top_p=1e-60, seed=1), 0)
    sampler.add(1, GenerationRequest((1,), temperature=1.0, top_p=1e-60, top_k=5, seed=1), 0)
    sampler.add(2, GenerationRequest((1,), temperature=1e-300, seed=1), 0)
    sampler.add(3, GenerationRequest((1,), temperature=2.0, top_k=1, seed=1), 0)
    assert [one.token for one in sampler.pick(logits, range(4))] == logits.argmax(-1).tolist()


@samplers
@pytest.mark.parametrize("options", [{}, {"top_p": 0.5}, {"top_k": 4}, {"logprobs": 5}])
def test_a_nan_stays_in_its_row(kind, options):
    def tokens(logits):
        sampler = kind(100, ENDS, CPU)
        for sequence in range(2):
            sampler.add(sequence, GenerationRequest((1,), temperature=1.0, seed=5, **options), 0)
        return [one.token for one in sampler.pick(logits, [0, 1])]

    sound = torch.randn(2, 100)
    broken = sound.clone()
    broken[0, 50] = torch.nan
    first, second = tokens(broken)
    assert 0 <= first < 100
    assert second == tokens(sound)[1]


@samplers
def test_logits_are_left_alone_and_dropped_sequences_are_forgotten(kind):
    sampler = kind(50, ENDS, CPU)
    logits = torch.randn(1, 50)
    best, before = int(logits.argmax()), logits.clone()
    sampler.add(0, GenerationRequest((1,), logit_bias={best: -100.0}), 0)
    with torch.inference_mode():
        assert sampler.pick(logits, [0])[0].token != best
    assert sampler.pick(logits, [0])[0].token != best
    assert torch.equal(logits, before)
    sampler.drop(0)
    sampler.drop(0)
    sampler.add(0, GenerationRequest((1,)), 0)
    assert sampler.pick(logits, [0])[0].token == best


@samplers
@pytest.mark.parametrize("penalty", [1.3, 0.6])
def test_repetition_penalty_is_that_of_transformers(kind, penalty):
    """Over the tokens of prompt and completion, in a batch with rows that have none."""
    process = RepetitionPenaltyLogitsProcessor(penalty)
    prompt, written = [4, 9, 4, 33], []
    sampler = kind(60, frozenset(), CPU)
    sampler.add(0, GenerationRequest((1,)), 0)
    sampler.add(1, GenerationRequest(prompt, repetition_penalty=penalty, logprobs=3), 0)
    for step in range(20):
        logits = torch.randn(1, 60, generator=torch.Generator().manual_seed(step)) * 3
        want = int(process(torch.tensor([prompt + written]), logits.clone()).argmax())
        plain, picked = sampler.pick(logits.expand(2, -1), (0, 1))
        assert (plain.token, picked.token) == (int(logits.argmax()), want)
        own = logits.log_softmax(-1)[0]  # before the penalty
        assert picked.logprobs.logprob == pytest.approx(float(own[want]), abs=1e-5)
        assert picked.logprobs.top[0][0] == int(own.argmax())
        written.append(want)


@samplers
@pytest.mark.parametrize("min_p", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("top_k", [0, 7])
def test_min_p_keeps_the_tokens_that_transformers_keeps(kind, min_p, top_k):
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(3)) * 2
    scores = TemperatureLogitsWarper(0.8)(None, logits.clone())
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    kept = set(MinPLogitsWarper(min_p)(None, scores)[0].isfinite().nonzero()[:, 0].tolist())
    sampler = kind(30, frozenset(), CPU)
    for row in range(600):
        options = {"min_p": min_p} if row % 2 else {}
        sampler.add(
            row, GenerationRequest((1,), temperature=0.8, top_k=top_k, seed=row, **options), 0
        )
    picked = [one.token for one in sampler.pick(logits.expand(600, -1), range(600))]
    assert set(picked[1::2]) == kept
    assert set(picked[::2]) > kept


@samplers
def test_a_row_that_min_p_does_not_limit_draws_as_it_does_alone(kind):
    request = GenerationRequest((1,), temperature=1.0, top_p=0.9, seed=4)
    beside = GenerationRequest((1,), temperature=1.0, top_p=0.9, min_p=0.4, seed=9)
    assert generated(kind, request) == generated(kind, request, beside=[(beside, 0)])
