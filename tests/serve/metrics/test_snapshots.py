"""Reports of several processes become one page."""

from __future__ import annotations

from serve.metrics.snapshots import added, page
from tests.serve.metric_samples import process, samples


def test_reports_are_added_up_and_prometheus_reads_the_page():
    found = samples(page(added([process(2, 5), process(3, 1)])))
    assert found["asked_total", ("ada",)] == 5
    assert found["busy", ()] == 6
    assert found["took_bucket", ("1.0",)] == 0
    assert found["took_bucket", ("2.0",)] == found["took_bucket", ("+Inf",)] == 5
    assert (found["took_count", ()], found["took_sum", ()]) == (5, 7.5)
    assert not any(name.endswith("_created") for name, _ in found)
