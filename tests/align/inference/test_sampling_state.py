"""What the host decides for a sequence's samples."""

import pytest

from align.inference.sampling_state import SamplingState, by_kind, is_plain
from align.inference.types import GenerationRequest


def state(index=0, **options):
    return SamplingState(GenerationRequest((1,), **options), index)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.0},
        {"presence_penalty": 0.1},
        {"frequency_penalty": -0.1},
        {"repetition_penalty": 1.1},
        {"logit_bias": {3: 1.0}},
        {"min_new_tokens": 1},
        {"logprobs": 0},
    ],
)
def test_a_request_that_changes_or_needs_more_is_not_plain(options):
    assert is_plain(GenerationRequest((1,), top_p=0.5, min_p=0.5, seed=3))
    assert not is_plain(GenerationRequest((1,), **options))


def test_rows_are_grouped_by_what_they_draw_from():
    warm = {"temperature": 1.0}
    rows = {
        0: state(),
        2: state(**warm, top_p=0.9),
        3: state(**warm, top_k=4, top_p=0.9),
        5: state(**warm, top_k=10),  # as many as there are
        6: state(**warm, top_p=0.5),
    }
    assert by_kind(rows, 10) == {"nucleus": [2, 6], "few": [3], "all": [5]}


def test_streams_of_a_seed_differ_and_repeat():
    numbers = [
        (one.random.random(), one.spare_random.random())
        for one in (state(seed=4, index=1), state(seed=5), state(seed=-5), state(seed=6))
    ]
    assert numbers[0] == numbers[1]
    assert len({number for pair in numbers[1:] for number in pair}) == 6


def test_ends_are_early_only_if_a_number_of_tokens_is_asked_for():
    assert state(stop_ids=(5,)).early_ids({9, 2}) == []
    assert state(stop_ids=(5,), min_new_tokens=1).early_ids({9, 2}) == [2, 5, 9]
    assert state(stop_ids=(5,), min_new_tokens=1, ignore_eos=True).early_ids({9, 2}) == [5]


def test_penalties_grow_with_the_count_of_a_token():
    row = state(presence_penalty=0.5, frequency_penalty=0.25, logit_bias={7: 2.0})
    assert [row.offset_after(token) for token in (7, 8, 7)] == [1.25, -0.75, 1.0]


def test_the_next_token_depends_on_the_last_with_penalties_alone():
    assert not state(temperature=1.0, min_p=0.5, logit_bias={3: 1.0}).needs_last
    assert state(repetition_penalty=1.1).needs_last
    assert state(presence_penalty=0.1).needs_last
