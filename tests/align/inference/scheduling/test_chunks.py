"""How a step's prompt tokens are shared out."""

from hypothesis import given
from hypothesis import strategies as st

from align.inference.scheduling.chunks import share_out
from align.inference.scheduling.sequence import Sequence


@given(
    unread=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), min_size=1, max_size=8),
    budget=st.integers(1, 60),
)
def test_a_steps_prompt_tokens_are_shared_out(unread: list[tuple[int, int]], budget: int) -> None:
    reading = [
        Sequence(at, adapter, tuple(range(length)), 1, 0)
        for at, (length, adapter) in enumerate(unread)
    ]
    granted = {chunk.sequence: chunk.count for chunk in share_out(reading, budget, {})}
    assert sum(granted.values()) == min(budget, sum(length for length, _ in unread))
    assert granted[0] >= min(unread[0][0], budget / 2)
    assert all(0 < count <= unread[at][0] for at, count in granted.items())
    complete = [length for at, (length, _) in enumerate(unread) if granted.get(at) == length]
    for at, (length, _) in enumerate(unread[1:], start=1):
        if granted.get(at, 0) < length and granted[0] < unread[0][0]:
            assert all(other <= length for other in complete), "a longer one came first"
