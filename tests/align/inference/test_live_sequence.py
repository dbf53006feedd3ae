"""What the model reads and writes for a sequence next."""

import torch

from align.inference.live_sequence import start
from align.inference.modeling.model import Reading, Writing
from align.inference.scheduling.plan import Chunk
from align.inference.stopping import Written
from align.inference.token_bytes import DecodedBytes
from align.inference.types import GenerationRequest

PROMPT = [5, 6, 7, 8, 9]


def live(reuse=True):
    request = GenerationRequest(PROMPT, max_new_tokens=4)
    sequence = start(3, request, None, Written(request, DecodedBytes(str), frozenset()), reuse)
    sequence.scheduled.slot = 2
    return sequence


def test_without_reuse_no_prompt_token_may_come_from_another():
    assert live().scheduled.reusable == 4
    assert live(reuse=False).scheduled.reusable == 0


def test_a_chunk_is_a_part_of_the_prompt():
    assert live().reading(Chunk(3, 1, 3), bank=1) == Reading((6, 7, 8), 2, 1, 1)


def test_the_last_chunk_completes_the_prompt():
    sequence, hidden = live(), torch.zeros(2, 4)
    sequence.scheduled.cached = 1
    assert not sequence.take(Chunk(3, 1, 2), hidden, torch.neg)
    assert sequence.written.completion.cached_tokens == 0
    assert sequence.take(Chunk(3, 3, 2), hidden, torch.neg)
    assert sequence.written.completion.cached_tokens == 1


def test_a_row_is_at_the_position_of_its_newest_token():
    sequence = live()
    assert sequence.writing(bank=-1, unread=1).position == 5
    sequence.scheduled.write(77)
    assert sequence.writing(bank=-1) == Writing(77, 2, 5, -1)
    assert sequence.writing(bank=-1, unread=1).position == 6
