"""A process is set up for its task, whatever it ran before."""

import os

import pytest

from cluster.settings import Settings
from sweeps.pool.worker_process import import_for


def test_what_is_named_is_imported_with_the_home_and_the_threads_of_its_job(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    monkeypatch.setenv("ALIGNERY_HOME", "/elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    try:
        found = import_for(Settings(home=tmp_path), 2, "json:dumps")
        assert found([1]) == "[1]"
        assert (os.environ["ALIGNERY_HOME"], os.environ["OMP_NUM_THREADS"]) == (str(tmp_path), "2")
        assert torch.get_num_threads() == 2
        import_for(Settings(home=tmp_path), 1, "json:dumps")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
