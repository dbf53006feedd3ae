"""Before the first trial, every machine is asked whether it reaches what workers need."""

from contextlib import nullcontext

import pytest

from cluster.settings import Settings
from sweeps.errors import SweepError
from sweeps.pool import worker_preflight
from sweeps.pool.placement import make_placement
from sweeps.pool.worker_preflight import check_workers


def test_every_node_is_asked_before_the_first_trial(local_ray, settings, recipe, monkeypatch):
    placement = make_placement(settings, recipe, ["sft"])
    check_workers(settings, placement, recipe)  # local: nothing is asked
    joined = Settings(ray_address=local_ray)
    monkeypatch.setattr(worker_preflight, "_answers", lambda *_: pytest.fail("asked"))
    check_workers(joined, placement, recipe)  # this machine: nor here
    monkeypatch.undo()
    monkeypatch.setattr(worker_preflight, "_here", lambda node: False)
    check_workers(joined, placement, recipe)
    monkeypatch.setattr(worker_preflight, "_marked", lambda *_: nullcontext())
    with pytest.raises(SweepError, match=r"^workers on \S+ cannot see the database .*PostgreSQL"):
        check_workers(joined, placement, recipe)
