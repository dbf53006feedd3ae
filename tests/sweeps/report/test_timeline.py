"""Columns of workers, and how idle they were."""

import pytest

from sweeps.report.timeline import Bar, idle_share, lanes


def test_a_column_for_each_worker_and_how_idle_they_were():
    def bar(node, worker, began, ended):
        return Bar("sft", 0, "COMPLETE", "10", node, worker, began, ended)

    work = [bar("a", "1", 0, 10), bar("a", "2", 0, 4), bar("a", "3", 5, 10), bar("b", "9", 5, 10)]
    pool = lanes(work)
    assert [(one.node, one.workers) for one in pool] == [
        ("a", ("1",)), ("a", ("2", "3")), ("b", ("9",)),
    ]  # fmt: skip
    assert idle_share(pool) == pytest.approx(1 / 25)  # of 10, 10 and 5 seconds
    assert idle_share(pool, 0, 20) == pytest.approx(31 / 55)
    assert idle_share([]) == 0
