"""Bytes of the generation engine that a trial holds beside its training.

It evaluates every trial and writes GRPO's completions, on the same weights.
"""

from __future__ import annotations

from align.inference.options import EngineOptions
from align.memory.machines import Machine
from align.memory.shape import FUSED, ModelShape
from align.memory.workload import Workload

FP32 = 4
#: Rows of the decode steps that CUDA graphs are recorded for, up to the number of slots.
_GRAPH_ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64)
#: Powers of two of a sequence's length that are met while completions are written.
_GRAPH_LENGTHS = 2


def engine_bytes(
    work: Workload, shape: ModelShape, machine: Machine, options: EngineOptions
) -> int:
    """Keys and values, the bank of adapters, loaded adapters, and what sampling keeps."""
    loaded = [work.lora, *work.beneath, *work.judge]
    return (
        kv_bytes(shape, machine, options)
        + bank_bytes(work, shape, machine, options)
        + 2 * machine.width * sum(one.parameters(shape) for one in loaded)
        + _packed(shape, machine)
        + (_sampling(work, shape, machine, options) if work.method == "grpo" else 0)
    )


def kv_bytes(shape: ModelShape, machine: Machine, options: EngineOptions) -> int:
    """Of all slots; on a GPU there is one more, for rows that fill up a recorded step."""
    token = 2 * shape.layers * shape.key_width * machine.width
    room = options.kv_bytes // (options.slots * token)
    tokens = options.slot_tokens or min(shape.context, room)
    return (options.slots + (machine.device == "cuda")) * tokens * token


def bank_bytes(work: Workload, shape: ModelShape, machine: Machine, options: EngineOptions) -> int:
    """All bank slots, as tall as the tallest adapter in them; fused linears grow together."""
    chains = [(work.lora, *work.beneath), work.judge]
    tallest = max(sum(one.rank for one in chain) for chain in chains)
    rank = min(1 << (tallest - 1).bit_length(), options.max_rank)
    targets = {name for chain in chains for one in chain for name in one.targets}
    sizes = sum(
        sum(sum(shape.linears[name]) for name in group)
        for group in FUSED
        if targets.intersection(group)
    )
    return options.adapters * rank * shape.layers * sizes * machine.width


def _packed(shape: ModelShape, machine: Machine) -> int:
    """On a CPU in bf16 the engine has its own copy of the weights, in oneDNN's layout."""
    if machine.device != "cpu" or machine.dtype != "bfloat16":
        return 0
    linears = shape.layers * sum(into * out for into, out in shape.linears.values())
    return machine.width * (linears + shape.vocab * shape.hidden)


def _sampling(work: Workload, shape: ModelShape, machine: Machine, options: EngineOptions) -> int:
    """Three fp32 copies of a step's logits, and the logits of each recorded step."""
    rows = min(work.batch, options.slots)
    kept = 3 * FP32 * rows * shape.vocab
    if machine.device == "cpu":
        return kept
    recorded = sum(one for one in _GRAPH_ROWS if one <= rows) * _GRAPH_LENGTHS
    return kept + recorded * shape.vocab * machine.width
