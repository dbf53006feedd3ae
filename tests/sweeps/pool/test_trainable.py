"""Up to where a trial is trained next."""

import pytest

from sweeps.pool.trainable import next_milestone


@pytest.mark.parametrize(
    ("decided", "trained", "measured", "expected"),
    [
        (0, 0, set(), 10),
        (10, 10, {10}, 20),
        (0, 10, {10}, 10),  # measured, but its driver died before it was told
        (0, 10, set(), 10),  # trained, but its worker died before it measured
        (0, 20, set(), 20),
        (20, 30, {30}, 30),
        (20, 30, set(), 30),
        (30, 30, {30}, 30),
    ],
)
def test_the_next_milestone(decided, trained, measured, expected):
    assert next_milestone((10, 20, 30), decided, trained, measured) == expected
