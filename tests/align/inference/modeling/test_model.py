"""A base with slots and a bank computes what the base computes, however its tokens come."""

import pytest
import torch

from align.inference.modeling.model import Model, Reading, Writing
from tests.align.inference.tiny_families import random_base, random_tokens

TOKENS = random_tokens(1, 14)
NEAR = 1e-4


@pytest.fixture(scope="module", params=["llama", "olmo2", "cohere"])
def base(request):
    return random_base(request.param)


@pytest.fixture
def model(base) -> Model:
    return Model(base, 3, 32, 2, 8)


def plain(base, tokens):
    with torch.no_grad():
        return base.model(torch.tensor([tokens])).logits[0]


@torch.inference_mode()
def test_a_probe_gives_the_logits_of_the_base(base, model):
    wanted = plain(base, TOKENS)
    assert torch.allclose(model.probe(TOKENS), wanted, atol=NEAR * float(wanted.abs().max()))


@torch.inference_mode()
def test_runs_of_several_slots_come_back_in_their_order(base, model):
    other = TOKENS[::-1]
    hidden = model.read([Reading(TOKENS[:5], 2, 0, -1), Reading(other, 0, 0, -1)])
    wanted = torch.cat([plain(base, TOKENS[:5]), plain(base, other)])
    assert torch.allclose(model.logits(hidden), wanted, atol=NEAR * float(wanted.abs().max()))


@torch.inference_mode()
def test_rows_of_a_step_go_on_from_their_slots_in_any_order(base, model):
    other = TOKENS[::-1]
    model.read([Reading(TOKENS[:-1], 1, 0, -1), Reading(other[:6], 0, 0, -1)])
    logits = model.write([Writing(other[6], 0, 6, -1), Writing(TOKENS[-1], 1, 13, -1)])
    wanted = torch.stack([plain(base, other[:7])[-1], plain(base, TOKENS)[-1]])
    assert torch.allclose(logits, wanted, atol=NEAR * float(wanted.abs().max()))


@torch.inference_mode()
def test_tokens_may_come_apart_from_their_rows(base, model):
    model.read([Reading(TOKENS[:-1], 1, 0, -1)])
    logits = model.write([Writing(0, 1, len(TOKENS) - 1, -1)], torch.tensor(TOKENS[-1:]))
    wanted = plain(base, TOKENS)[-1:]
    assert torch.allclose(logits, wanted, atol=NEAR * float(wanted.abs().max()))
