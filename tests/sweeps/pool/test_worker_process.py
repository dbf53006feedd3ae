"""A process is set up for its task, whatever it ran before."""

import os
import sys

import pytest

from align.errors import GpuError
from align.gpu_preflight import CardFacts
from cluster.settings import Settings
from sweeps.pool.worker_process import import_for, use_card

GIB = 2**30


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Variables as they were, afterwards too."""
    monkeypatch.setenv("ALIGNERY_HOME", "/elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:False")


def test_what_is_named_is_imported_with_the_home_and_the_threads_of_its_job(tmp_path):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        found = import_for(Settings(home=tmp_path), 2, 0.0, "json:dumps")
        assert found([1]) == "[1]"
        assert (os.environ["ALIGNERY_HOME"], os.environ["OMP_NUM_THREADS"]) == (str(tmp_path), "2")
        assert torch.get_num_threads() == 2
        import_for(Settings(home=tmp_path), 1, 0.0, "json:dumps")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("gpus", "visible"), [(0.0, ""), (0.5, "0")])
def test_work_without_a_gpu_sees_no_card(tmp_path, gpus, visible):
    import_for(Settings(home=tmp_path), 1, gpus, "json:dumps")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


@pytest.fixture
def card(monkeypatch):
    """A card with 4 GiB free; gives the shares that the process was held to."""
    import torch

    held = []
    facts = CardFacts("13.0", ("sm_75",), "", "Tesla T4", (7, 5), 4 * GIB, 15 * GIB)
    monkeypatch.setattr("align.gpu_preflight.read_card", lambda: facts)
    monkeypatch.setattr("align.gpu_preflight.PATIENCE", 0)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr("sweeps.pool.worker_process.limit_memory", held.append)
    return held


def test_a_worker_is_held_to_its_share_of_a_card_that_it_can_use(card):
    use_card(0.5, "smollm2-135m-instruct")
    assert card == [0.5]


def test_a_base_that_does_not_fit_into_what_is_free_is_told_before_it_loads(card, tmp_path):
    (tmp_path / "config.json").write_text(
        '{"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, '
        '"num_attention_heads": 32, "vocab_size": 32000}'
    )
    with pytest.raises(GpuError, match=r"12\.55 GiB are needed .*4\.00 of the 15\.00 GiB"):
        use_card(1.0, str(tmp_path))
    assert card == []


def test_work_without_a_card_or_without_torch_is_not_checked(card, monkeypatch):
    use_card(0.0, "smollm2-135m-instruct")
    monkeypatch.delitem(sys.modules, "torch")
    use_card(1.0, "smollm2-135m-instruct")
    assert card == []
