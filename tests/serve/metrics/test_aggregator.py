"""What stays of the metrics of a process that is gone."""

from __future__ import annotations

import asyncio
from typing import Any

from serve.metrics.aggregator import GONE_SECONDS, MetricsAggregator
from serve.metrics.snapshots import page
from tests.serve.metric_samples import process, samples


def test_a_process_that_is_gone_leaves_its_counts():
    clock = [0.0]
    board = MetricsAggregator(lambda: clock[0])

    def total() -> dict[Any, float]:
        return samples(page(asyncio.run(board.total())))

    asyncio.run(board.report("one", process(2, 5)))
    asyncio.run(board.report("other", process(3, 1)))
    asyncio.run(board.report("one", process(4, 5)))  # in place of what it said before
    assert (total()["asked_total", ("ada",)], total()["busy", ()]) == (7, 6)
    for clock[0] in (GONE_SECONDS + 1, 2 * GONE_SECONDS):
        asyncio.run(board.report("other", process(3, 1)))
        assert (total()["asked_total", ("ada",)], total()["busy", ()]) == (7, 1)
    asyncio.run(board.report("one", process(5, 2)))  # it had only been silent
    assert (total()["asked_total", ("ada",)], total()["busy", ()]) == (8, 3)
