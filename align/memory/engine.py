"""Bytes of the generation engine that a trial uses in addition to training.

The engine evaluates every trial and generates the completions of online methods, with the same
weights.
"""

from __future__ import annotations

from align.inference.options import EngineOptions
from align.memory.machines import Machine
from align.memory.shape import FUSED, ModelShape
from align.memory.workload import Workload

FP32 = 4
#: Rows of the decode steps that CUDA graphs are recorded for, up to the number of slots.
_GRAPH_ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64)
#: Number of length buckets (powers of two) that decoding passes through.
_GRAPH_LENGTHS = 2


def engine_bytes(
    work: Workload, shape: ModelShape, machine: Machine, options: EngineOptions
) -> int:
    """Bytes of keys and values, the adapter bank, loaded adapters, and the sampling buffers."""
    loaded = [work.lora, *work.beneath, *work.judge]
    return (
        kv_bytes(shape, machine, options)
        + bank_bytes(work, shape, machine, options)
        + 2 * machine.width * sum(lora.parameters(shape) for lora in loaded)
        + _packed(shape, machine)
        + (_sampling(work, shape, machine, options) if work.training_method.online else 0)
    )


def kv_bytes(shape: ModelShape, machine: Machine, options: EngineOptions) -> int:
    """Bytes of all KV slots. A GPU has an extra slot for the surplus rows of a recorded step."""
    token = 2 * shape.layers * shape.key_width * machine.width
    room = options.kv_bytes // (options.slots * token)
    tokens = options.slot_tokens or min(shape.context, room)
    return (options.slots + (machine.device == "cuda")) * tokens * token


def bank_bytes(work: Workload, shape: ModelShape, machine: Machine, options: EngineOptions) -> int:
    """Bytes of all bank slots, of the largest rank in them; fused linears grow together."""
    chains = [(work.lora, *work.beneath), work.judge]
    largest = max(sum(lora.rank for lora in chain) for chain in chains)
    rank = min(1 << (largest - 1).bit_length(), options.max_rank)
    targets = {name for chain in chains for lora in chain for name in lora.targets}
    sizes = sum(
        sum(sum(shape.linears[name]) for name in group)
        for group in FUSED
        if targets.intersection(group)
    )
    return options.adapters * rank * shape.layers * sizes * machine.width


def _packed(shape: ModelShape, machine: Machine) -> int:
    """Bytes of the packed weights: on a CPU in bf16 the engine copies them to oneDNN's layout."""
    if machine.device != "cpu" or machine.dtype != "bfloat16":
        return 0
    linears = shape.layers * sum(inputs * outputs for inputs, outputs in shape.linears.values())
    return machine.width * (linears + shape.vocab * shape.hidden)


def _sampling(work: Workload, shape: ModelShape, machine: Machine, options: EngineOptions) -> int:
    """Bytes of three fp32 copies of a step's logits, and of the logits of each recorded step."""
    rows = min(work.batch, options.slots)
    buffers = 3 * FP32 * rows * shape.vocab
    if machine.device == "cpu":
        return buffers
    recorded = sum(count for count in _GRAPH_ROWS if count <= rows) * _GRAPH_LENGTHS
    return buffers + recorded * shape.vocab * machine.width
