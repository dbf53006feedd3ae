"""Log-probabilities and scores of a prompt, in whatever pieces it is read."""

import pytest
import torch

from align.inference.loaded_adapters import RewardHead
from align.inference.prompt_scoring import Read
from align.inference.types import Completion, GenerationRequest

PROMPT = (3, 1, 2, 0, 4, 4)
HIDDEN = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
HEAD = RewardHead(torch.tensor([[1.0, 2.0, 0.0, -1.0, 0.5]]), pad=4)


def read(pieces, head=None, **asked):
    """The completion of a prompt that is read in pieces of so many tokens."""
    request = GenerationRequest(PROMPT, max_new_tokens=0, **asked)
    reading, completion = Read(PROMPT, request, head), Completion()
    start = 0
    for count in pieces:
        reading.take(start, HIDDEN[start : start + count], completion, lambda hidden: hidden)
        start += count
    return completion


@pytest.mark.parametrize("pieces", [[6], [1] * 6, [2, 4], [5, 1]])
@pytest.mark.parametrize("first", [1, 3, 5])
def test_each_token_from_the_first_on_has_its_log_probability(pieces, first):
    logs = HIDDEN.log_softmax(-1)
    wanted = [float(logs[at - 1, PROMPT[at]]) for at in range(first, 6)]
    assert read(pieces, prompt_logprobs=first).prompt_logprobs == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("pieces", [[6], [3, 3], [4, 2]])
def test_the_score_is_that_of_the_last_token_before_the_padding(pieces):
    done = read(pieces, HEAD, score=True)
    assert done.score == pytest.approx(float(HIDDEN[3] @ HEAD.weight[0]), abs=1e-6)
    assert done.prompt_logprobs == []


def test_without_being_asked_for_it_nothing_is_scored():
    assert read([6], HEAD).score is None


@pytest.mark.parametrize(
    ("asked", "reusable"),
    [({}, 5), ({"prompt_logprobs": 1}, 0), ({"prompt_logprobs": 4}, 3), ({"score": True}, 3)],
)
def test_tokens_whose_states_are_needed_are_not_reused(asked, reusable):
    request = GenerationRequest(PROMPT, max_new_tokens=0, **asked)
    assert Read(PROMPT, request, HEAD).first == reusable
