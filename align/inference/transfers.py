"""Copies between the host and a card that do not make the host wait for the card."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

_NUMPY = {torch.float64: np.float64, torch.int64: np.int64, torch.int32: np.int32}


def send(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on `device`; on the host itself, the same tensor.

    The copy to a card comes from pinned memory and is queued behind the card's work. A copy from
    pageable memory would make the host wait until the card has done all that is queued before it.
    """
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


def upload(
    values: Sequence[float] | np.ndarray, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """A tensor (len(values),) on `device`, as `send`; `dtype` is float64, int64 or int32."""
    return send(torch.from_numpy(np.array(values, _NUMPY[dtype])), device)


class Download:
    """The values of a tensor on their way to the host."""

    def __init__(self, source: torch.Tensor):
        self._host = source
        self._arrived: torch.cuda.Event | None = None
        if source.device.type == "cuda":
            self._host = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
            self._host.copy_(source, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def wait(self) -> torch.Tensor:
        """The values on the host as soon as they are there; later work is not waited for."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host


class Bundle:
    """Named lists of numbers that go to a device in one transfer."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._spans: dict[str, slice] = {}
        self._length = 0

    def put(self, name: str, values: Sequence[float] | np.ndarray) -> None:
        """Add a list. Integers must be below 2^53."""
        self._parts.append(np.array(values, np.float64))
        self._spans[name] = slice(self._length, self._length + len(values))
        self._length += len(values)

    def __contains__(self, name: str) -> bool:
        return name in self._spans

    def send(self, device: torch.device) -> None:
        """Send all lists to the device. No list can be added after that."""
        if not self._parts:
            return
        self._doubles = upload(np.concatenate(self._parts), torch.float64, device)
        self._floats, self._ints = self._doubles.float(), self._doubles.long()

    def doubles(self, name: str) -> torch.Tensor:
        """A list in fp64, after `send`."""
        return self._doubles[self._spans[name]]

    def floats(self, name: str) -> torch.Tensor:
        """A list in fp32, after `send`."""
        return self._floats[self._spans[name]]

    def ints(self, name: str) -> torch.Tensor:
        """A list in int64, after `send`."""
        return self._ints[self._spans[name]]
