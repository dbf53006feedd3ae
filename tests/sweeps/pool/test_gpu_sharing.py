"""A process is held to its share of a GPU."""

import sys
from types import SimpleNamespace

from sweeps.pool.gpu_sharing import hold_to_share, tensor_fraction


def test_a_process_is_held_to_its_share_less_the_context():
    total = 16 * 2**30
    assert tensor_fraction(0.5, total) == 0.5 - 1 / 32


def test_holding_to_a_share_sets_what_torch_may_allocate(monkeypatch):
    told = []
    cuda = SimpleNamespace(
        is_available=lambda: True,
        current_device=lambda: 0,
        get_device_properties=lambda device: SimpleNamespace(total_memory=16 * 2**30),
        set_per_process_memory_fraction=told.append,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    hold_to_share(0.25)
    hold_to_share(1.0)
    assert told == [0.25 - 1 / 32]  # a whole GPU is left as it is
