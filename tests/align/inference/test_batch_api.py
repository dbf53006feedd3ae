"""Requests that are submitted together come back in their order, and can be called off."""

import pytest

from align.inference import EngineOptions, GenerationRequest
from align.inference.batch_api import complete, summed_log_probabilities
from align.inference.engine import BankEngine
from tests.align.inference.tiny_families import random_tokens

PROMPT = random_tokens(1, 9)


@pytest.fixture
def engine(tiny) -> BankEngine:
    return BankEngine(tiny, EngineOptions(slots=3, slot_tokens=64))


def request(tokens: int, **fields) -> GenerationRequest:
    return GenerationRequest(PROMPT, max_new_tokens=tokens, ignore_eos=True, **fields)


def test_completions_come_in_the_order_of_requests_with_all_of_each_together(engine):
    done = complete(engine, [request(9), request(2, n=2), request(5)], None)
    assert [len(completion.token_ids) for completion in done] == [9, 2, 2, 5]


def test_a_completion_that_is_called_off_ends_and_the_others_do_not(engine):
    told = []

    def on_text(index, text):
        told.append(index)
        return index != 1 or told.count(1) < 2

    done = complete(engine, [request(12), request(12), request(12)], on_text)
    assert [completion.finish_reason for completion in done] == ["length", "cancelled", "length"]
    assert len(done[0].token_ids) == len(done[2].token_ids) == 12 > len(done[1].token_ids)


def test_an_error_of_the_caller_leaves_nothing_to_do(engine):
    def on_text(index, text):
        raise ValueError("the reader has gone")

    with pytest.raises(ValueError, match="the reader has gone"):
        complete(engine, [request(12), request(12)], on_text)
    engine.step()
    assert not engine.busy


def test_log_probabilities_are_summed_over_the_continuation_alone(engine):
    cut = [(PROMPT[:4], PROMPT[4:]), (PROMPT[:8], PROMPT[8:])]
    long, short = summed_log_probabilities(engine, cut, None)
    (whole,) = complete(engine, [GenerationRequest(PROMPT, None, 0, prompt_logprobs=1)], None)
    assert long == pytest.approx(sum(whole.prompt_logprobs[3:]), abs=1e-4)
    assert short == pytest.approx(whole.prompt_logprobs[-1], abs=1e-4)
