"""The values used last are held, and no more."""

from align.lru_cache import Remembered


def test_the_last_results_are_remembered():
    made = []
    two: Remembered[int] = Remembered(2)
    for key in (1, 2, 1, 3, 1, 2):
        assert two.of(key, lambda key=key: made.append(key) or key) == key
    assert made == [1, 2, 3, 2]
    two.clear()
    two.of(1, lambda: made.append(1) or 1)
    assert made[-1] == 1
