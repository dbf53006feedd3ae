"""A prompt and what is written after it."""

from align.inference.scheduling.sequence import Sequence


def test_content_is_the_prompt_and_all_tokens_after_it() -> None:
    sequence = Sequence(0, 1, (5, 6, 7), 4, 2, tokens=[8])
    sequence.write(9)
    assert sequence.tokens == [8, 9]
    assert list(sequence.content) == [5, 6, 7, 8, 9]


def test_what_is_unread_of_a_prompt_is_never_less_than_nothing() -> None:
    sequence = Sequence(0, 1, (5, 6, 7), 4, 2)
    left = []
    for computed in (0, 2, 3, 6):
        sequence.computed = computed
        left.append(sequence.unread)
    assert left == [3, 1, 0, 0]


def test_sequences_of_the_same_content_are_two() -> None:
    assert Sequence(0, 1, (5,), 4, 0) != Sequence(0, 1, (5,), 4, 0)
