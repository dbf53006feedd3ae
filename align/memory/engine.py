"""Bytes of the generation engine that a trial uses in addition to training.

The engine evaluates every trial and generates the completions of online methods, with the same
weights.
"""

from __future__ import annotations

from align.inference import memory_plan
from align.inference.memory_plan import DecoderSizes
from align.inference.options import KV_BYTES_ON_CPU, EngineOptions, lengthened
from align.memory.machines import Machine
from align.memory.shape import FUSED, ModelShape
from align.memory.workload import Workload


def engine_bytes(
    work: Workload, shape: ModelShape, machine: Machine, options: EngineOptions
) -> int:
    """Bytes of keys and values, bank, CUDA graphs, loaded adapters, and the sampling buffers."""
    tokens = slot_tokens(work, shape, machine, options)
    rows = min(work.batch, options.slots)
    return (
        kv_bytes(shape, machine, options, tokens)
        + bank_bytes(work, shape, machine, options)
        + graph_bytes(shape, machine, options, tokens)
        + _loaded(work, shape, machine)
        + _packed(shape, machine)
        + (memory_plan.sampling_bytes(shape.vocab, rows) if work.training_method.online else 0)
    )


def slot_tokens(work: Workload, shape: ModelShape, machine: Machine, options: EngineOptions) -> int:
    """Tokens of each KV slot: on a GPU as many as the trial's longest sequence needs."""
    limit = _slot_limit(shape, machine, options)
    if options.first_tokens is None or machine.device == "cpu":
        return limit
    return lengthened(max(options.first_tokens, work.generated), limit)


def _slot_limit(shape: ModelShape, machine: Machine, options: EngineOptions) -> int:
    token = sizes_of(shape, machine).token_bytes
    room = (options.kv_bytes or KV_BYTES_ON_CPU) // (options.slots * token)
    return options.slot_tokens or min(shape.context, room)


def kv_bytes(
    shape: ModelShape, machine: Machine, options: EngineOptions, tokens: int | None = None
) -> int:
    """Bytes of all KV slots with `tokens` each (None: as many as the options allow).

    A GPU has an extra slot for the surplus rows of a padded step.
    """
    sizes, tokens = sizes_of(shape, machine), tokens or _slot_limit(shape, machine, options)
    if machine.device == "cpu":
        return options.slots * tokens * sizes.token_bytes
    return memory_plan.keys_bytes(sizes, options, tokens)


def graph_bytes(shape: ModelShape, machine: Machine, options: EngineOptions, tokens: int) -> int:
    """Bytes of all captured decode steps; nothing is captured on a CPU."""
    if machine.device == "cpu":
        return 0
    return memory_plan.graphs_bytes(sizes_of(shape, machine), options, tokens)


def sizes_of(shape: ModelShape, machine: Machine) -> DecoderSizes:
    """The sizes that an engine's memory depends on, with numbers as wide as the machine's."""
    return DecoderSizes(
        layers=shape.layers,
        hidden=shape.hidden,
        intermediate=shape.intermediate,
        query_width=shape.query_width,
        key_width=shape.key_width,
        vocab=shape.vocab,
        width=machine.width,
        rank_parameters=shape.lora_parameters(1, frozenset(shape.linears)),
    )


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


def _loaded(work: Workload, shape: ModelShape, machine: Machine) -> int:
    """Bytes of loaded adapters, as they were read and as the bank takes them.

    Beside a GPU, those read from files are in the host's memory. The policy of an online method
    comes from the trainer's weights and stays on the card.
    """
    loaded = [work.lora, *work.beneath, *work.judge]
    if machine.device == "cuda":
        loaded = [work.lora, *work.beneath] if work.training_method.online else []
    return 2 * machine.width * sum(lora.parameters(shape) for lora in loaded)


def _packed(shape: ModelShape, machine: Machine) -> int:
    """Bytes of the packed weights: on a CPU in bf16 the engine copies them to oneDNN's layout."""
    if machine.device != "cpu" or machine.dtype != "bfloat16":
        return 0
    linears = shape.layers * sum(inputs * outputs for inputs, outputs in shape.linears.values())
    return machine.width * (linears + shape.vocab * shape.hidden)
