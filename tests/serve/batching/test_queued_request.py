"""What a job becomes in the engine."""

from __future__ import annotations

import pytest

from serve.batching.jobs import AdapterRef, GenerateJob, Refused, ScoreJob
from serve.batching.queued_request import generation_requests, score_requests

ADAPTER = AdapterRef("a" * 64, "arithmetic/sft:1")


def requests(prompts=([1, 2],), context=10, default=4, texts=("x",), **job):
    return generation_requests(GenerateJob(texts, **job), prompts, context, default)


def test_a_row_for_each_completion_of_each_prompt_with_a_seed_of_its_own():
    rows = requests(([1, 2], [3]), texts=("x", "y"), n=2, seed=5, adapter=ADAPTER)
    assert [list(row.prompt_ids) for row in rows] == [[1, 2], [1, 2], [3], [3]]
    assert [row.seed for row in rows] == [5, 6, 7, 8]
    assert {row.n for row in rows} == {1} and {row.adapter for row in rows} == {"a" * 64}
    assert [row.seed for row in requests(n=2, seed=2**63 - 1)] == [2**63 - 1, 0]
    assert requests()[0].seed is None and requests()[0].adapter is None


@pytest.mark.parametrize(("prompt", "default", "tokens"), [(2, 4, 4), (8, 4, 2), (9, 4, 1)])
def test_without_a_limit_it_is_the_default_or_what_fits(prompt, default, tokens):
    (row,) = requests(([1] * prompt,), default=default)
    assert row.max_new_tokens == tokens


def test_the_longest_prompt_must_fit_with_what_is_asked_for():
    assert requests(([1] * 6,), max_tokens=4)[0].max_new_tokens == 4
    refused = requests(([1] * 7, [1]), texts=("x", "y"), max_tokens=4)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.param) == ("context_length_exceeded", "prompt")
    chat = requests(([1] * 10,), texts=(({"role": "user", "content": "x"},),))
    assert isinstance(chat, Refused) and chat.param == "messages"


def test_no_fewer_tokens_are_demanded_than_are_allowed():
    assert requests(min_new_tokens=4)[0].min_new_tokens == 4
    refused = requests(min_new_tokens=5)
    assert isinstance(refused, Refused) and refused.param == "min_tokens"


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, (0.5, 0.9)),
        ({"temperature": 0.0009, "top_p": 0.9}, (0.0, 1.0)),
        ({"temperature": 0.001, "top_p": 0.9}, (0.001, 0.9)),
        ({"temperature": 0.5, "top_p": 0.0}, (0.0, 1.0)),
    ],
)
def test_next_to_nothing_is_greedy(sampling, expected):
    (row,) = requests(**sampling)
    assert (row.temperature, row.top_p) == expected


def test_a_score_writes_nothing_and_may_fill_the_context():
    job = ScoreJob((({"role": "user", "content": "x"},),) * 2, ADAPTER)
    rows = score_requests(job, ([1] * 10, [2]), 10)
    assert [(row.max_new_tokens, row.score, row.adapter) for row in rows] == [
        (0, True, "a" * 64),
        (0, True, "a" * 64),
    ]
    refused = score_requests(job, ([1] * 11, [2]), 10)
    assert isinstance(refused, Refused) and "context is 10 tokens" in refused.message
