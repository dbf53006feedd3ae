"""The most bytes that torch's tensors held at a time."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile


def live_bytes() -> int:
    """Of all tensors that Python can reach, each storage counted once."""
    found: dict[int, int] = {}
    gc.unfreeze()  # what a worker keeps for all trials counts too
    for one in gc.get_objects():
        # type(), since isinstance() wakes lazy objects of other libraries.
        if not issubclass(type(one), torch.Tensor) or one.device.type != "cpu":
            continue
        if one.layout is torch.strided:
            storage = one.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
        else:  # packed for oneDNN: no storage to ask
            found[id(one)] = one.numel() * one.element_size()
    return sum(found.values())


class Peak:
    """The allocator's peak between `start` and `stop`, what was held before included.

    On CUDA torch counts by itself. On a CPU the profiler records each allocation and release, which
    slows a step down but is exact; what is held at `start` is counted by `live_bytes`.
    """

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self._before = 0
        self._profile: profile | None = None

    def start(self) -> None:
        """Count from here on."""
        gc.collect()
        if self._cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            return
        self._before = live_bytes()
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._profile.start()

    def stop(self) -> int:
        """Bytes at the peak."""
        if self._cuda:
            torch.cuda.synchronize()
            return int(torch.cuda.max_memory_allocated())
        assert self._profile is not None  # start() made it
        self._profile.stop()
        profiler = self._profile.profiler
        assert profiler is not None and profiler.kineto_results is not None
        changes = sorted(
            (event.start_ns(), event.nbytes())  # type: ignore[attr-defined]  # not in torch's stub
            for event in profiler.kineto_results.events()
            if event.name() == "[memory]"
        )
        self._profile = None
        return self._before + highest(change for _, change in changes)


def highest(changes: Iterable[int]) -> int:
    """The largest sum of a beginning of `changes`, at least 0."""
    return max(0, *accumulate(changes, initial=0))
