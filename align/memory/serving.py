"""The memory that an engine certainly needs before it serves. Imports no torch."""

from __future__ import annotations

from align.errors import ModelError
from align.gpu_preflight import GpuNeeds
from align.inference.options import EngineOptions
from align.memory.engine import kv_bytes
from align.memory.machines import GPUS
from align.memory.shape import read_shape

#: Any GPU: all compute in two bytes a number.
_GPU = GPUS["T4"]


def needs_of(base: str, options: EngineOptions | None = None) -> GpuNeeds:
    """The bytes of the base's weights and of all keys and values; 0 for bases of another layout.

    Without an engine's `options` only the weights are counted. The adapter bank grows with the
    adapters that are asked for, and is not counted.
    """
    try:
        shape = read_shape(base)
    except ModelError:
        return GpuNeeds()
    cache = 0  # the engine takes what is free unless it is told how much
    if options is not None and (options.kv_bytes or options.slot_tokens):
        cache = kv_bytes(shape, _GPU, options)
    return GpuNeeds(_GPU.width * shape.parameters, cache)
