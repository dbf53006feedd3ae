"""The check of the outputs: it agrees with PEFT and notices a swapped adapter."""

import copy
from dataclasses import replace

import pytest
import torch
from peft import PeftModel

from align.base import load_base
from benchmarks.adapters import AdapterPool
from benchmarks.cases import chosen_cases
from benchmarks.reference import Reference, alike, in_nucleus, near_best, pick
from benchmarks.transformers_peer import greedy, without_end
from benchmarks.workload import make_workload


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A workload of four adapters on the tiny base, and what PEFT in fp32 writes for it."""
    base = load_base("tiny-random")
    base = replace(base, model=copy.deepcopy(base.model).float())
    pool = AdapterPool(base, tmp_path_factory.mktemp("adapters"))
    (case,) = chosen_cases("k4", 12, True)
    load = make_workload(replace(case, requests=8), 0, base.tokenizer)
    model = without_end(base.shell())
    for name in case.adapter_names:
        if isinstance(model, PeftModel):
            model.load_adapter(pool.folder(name), name)
        else:
            model = PeftModel.from_pretrained(model, pool.folder(name), name)
    completions = greedy(model.eval(), load.prompts, load.tokens, adapter_names=load.adapters)
    return Reference(base, pool), load, completions


def test_what_peft_writes_is_right(written):
    reference, load, completions = written
    agreement = reference.check(load, completions)
    assert agreement.good
    assert (agreement.checked, agreement.mean, agreement.worst) == (8, 1.0, 1.0)


def test_two_requests_that_got_each_others_adapter_are_noticed(written):
    reference, load, completions = written
    a, b = 0, next(at for at in range(8) if load.adapters[at] != load.adapters[0])
    swapped = list(load.adapters)
    swapped[a], swapped[b] = swapped[b], swapped[a]
    agreement = reference.check(replace(load, adapters=tuple(swapped)), completions)
    assert not agreement.good
    assert agreement.worst < 0.5


def test_an_adapter_that_was_left_out_is_noticed(written):
    reference, load, completions = written
    assert not reference.check(replace(load, adapters=(None,) * 8), completions).good


def test_near_ties_are_right_and_unlikely_tokens_are_not():
    logits = torch.zeros(1, 4, 100)
    logits[..., 7], logits[..., 8] = 5.0, 4.99
    assert near_best(logits, torch.tensor([[7, 8, 9, 10]])).tolist() == [[True, True, False, False]]
    likely = torch.tensor([[[0.55, 0.3, 0.1, 0.05]]]).log().expand(1, 4, 4)
    assert in_nucleus(likely, torch.tensor([[0, 1, 2, 3]])).tolist() == [[True, True, True, False]]


def test_every_adapter_is_checked_and_batches_are_of_similar_lengths():
    import random

    adapters = [f"a{at % 20}" for at in range(40)]
    places = pick(adapters, random.Random(0))
    assert {adapters[at] for at in places} == set(adapters)
    assert len(places) == len(set(places)) == 20
    assert len(set(pick([None] * 40, random.Random(0)))) == 8
    assert pick([None], random.Random(0)) == [0]
    assert alike([50, 2000, 60, 40, 55]) == [[3, 0, 4, 2], [1]]
