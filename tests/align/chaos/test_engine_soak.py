"""An engine that does everything at once, at random, for long, takes no more memory with time."""

import gc

import psutil
import pytest

from tests.align.inference.test_engine_soak import Soak

pytestmark = pytest.mark.chaos

#: Turns, not seconds: a slow machine does the same work, for longer.
TURNS = 36_000
#: Growth of the process after its first quarter: what Python and torch keep for themselves.
GROWTH = 24 * 2**20


def test_a_long_soak_takes_no_more_memory_with_time(tiny):
    soak, process, sizes = Soak(tiny, seed=2), psutil.Process(), []

    def measure(turn):
        if turn % (TURNS // 40) == 0:
            gc.collect()
            sizes.append(process.memory_info().rss)

    soak.run(TURNS, measure)
    assert soak.completed > 10_000
    soak.is_empty()
    quarter = len(sizes) // 4
    assert max(sizes[quarter:]) - sizes[quarter] < GROWTH
