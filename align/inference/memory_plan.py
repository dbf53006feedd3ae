"""What an engine takes of a GPU, and how it divides what is free. Imports no torch.

Sizes are upper bounds, from the tensors of the operations in `align.inference.kernels.plain`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from align.errors import RequestError
from align.inference.options import EngineOptions, lengthened
from align.inference.scheduling.decode_buckets import Bucket, capturable
from align.inference.scheduling.scheduler import ALONE

GIB = 2**30
FP32 = 4
#: Share of the free memory that is left to the gaps of torch's allocator.
RESERVE = 0.05
#: Share of the room for keys, values and adapters that the adapters may take at most, while the
#: memory of keys and values is not given.
_BANK_SHARE = 1 / 3
#: The rank that a bank has room for at least, where `max_rank` does not fit.
_LEAST_RANK = 16
_LEAST_TOKENS = 16  # of a slot; less than any chat template adds
#: Positions whose logits are computed at a time for a prompt's log-probabilities
#: (`align.inference.prompt_scoring`), and bytes of each logit, with copies in fp32.
_SCORED, _SCORED_BYTES = 256, 2 * FP32
#: Kernels that a layer launches in a decode step, at most, and bytes of the card that a graph takes
#: for each. Up to CUDA 12.4 these were 64 KiB (PyTorch, "CUDAGraph Trees"); since then NVIDIA names
#: no figure, and this is an assumption until a card has been measured.
_LAUNCHES, _LAUNCH_BYTES = 130, 1024


@dataclass(frozen=True)
class DecoderSizes:
    """The sizes of a decoder that determine an engine's memory.

    `query_width` and `key_width` are those of all heads together, `width` is the bytes of a number,
    `rank_parameters` the number of weights of an adapter of rank 1 on all linears.
    """

    layers: int
    hidden: int
    intermediate: int
    query_width: int
    key_width: int
    vocab: int
    width: int
    rank_parameters: int

    @property
    def token_bytes(self) -> int:
        """Bytes of a token's keys and values in all layers."""
        return 2 * self.layers * self.key_width * self.width


@dataclass(frozen=True)
class EngineMemory:
    """Bytes of an engine by part; `steps` are the temporary tensors of a step."""

    keys: int
    bank: int
    graphs: int
    steps: int

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return self.keys + self.bank + self.graphs + self.steps


@dataclass(frozen=True)
class MemoryPlan:
    """The bounds of an engine on a GPU: bytes of keys and values, and the bank's largest rank."""

    kv_bytes: int
    max_rank: int


def engine_memory(
    sizes: DecoderSizes, options: EngineOptions, tokens: int, rank: int
) -> EngineMemory:
    """The memory of an engine on a GPU with `tokens` in each slot and a bank of this rank."""
    return EngineMemory(
        keys=keys_bytes(sizes, options, tokens),
        bank=options.adapters * rank * sizes.rank_parameters * sizes.width,
        graphs=graphs_bytes(sizes, options, tokens),
        steps=steps_bytes(sizes, options, tokens),
    )


def keys_bytes(sizes: DecoderSizes, options: EngineOptions, tokens: int) -> int:
    """Bytes of all KV slots, with the slot that surplus rows of padded steps write to."""
    return (options.slots + options.cuda_graphs) * tokens * sizes.token_bytes


def graphs_bytes(sizes: DecoderSizes, options: EngineOptions, tokens: int) -> int:
    """Bytes of all CUDA graphs: a shared pool as large as the largest graph needs.

    To this come the logits, which all graphs share, too, and the parameters of each graph's
    kernels. Each shape is captured with and without adapters. An engine beside training captures
    shapes as they come, not the largest first, and may need more.
    """
    if not options.cuda_graphs:
        return 0
    shapes = capturable(options.slots, tokens)
    pool = max((decode_bytes(sizes, shape) for shape in shapes), default=0)
    logits = options.slots * sizes.vocab * sizes.width
    return pool + logits + 2 * len(shapes) * sizes.layers * _LAUNCHES * _LAUNCH_BYTES


def decode_bytes(sizes: DecoderSizes, shape: Bucket) -> int:
    """Bytes of a decode step's temporary tensors: attention in a layer, its MLP, and the logits.

    Attention gathers the keys and values of all positions. Beside them are indices in int64, and a
    mask as booleans and as numbers.
    """
    attention = shape.positions * (2 * sizes.key_width * sizes.width + 8 + 1 + sizes.width)
    return attention + shape.rows * sizes.width * (_row(sizes) + sizes.vocab)


def steps_bytes(sizes: DecoderSizes, options: EngineOptions, tokens: int) -> int:
    """Bytes of temporary tensors: of the largest step without a graph, and of sampling.

    A prompt chunk has masks as decoding has; prompts that are scored have logits in fp32.
    """
    chunk = options.chunk_tokens * ALONE
    prefill = chunk * (sizes.width * _row(sizes) + tokens * (1 + sizes.width))
    scored = _SCORED * sizes.vocab * (sizes.width + _SCORED_BYTES)
    decode = decode_bytes(sizes, Bucket(options.slots, tokens))
    return max(prefill, scored, decode) + sampling_bytes(sizes.vocab, options.slots)


def sampling_bytes(vocab: int, rows: int) -> int:
    """Bytes of the sampler's three fp32 copies of the logits of `rows` rows."""
    return 3 * FP32 * rows * vocab


def _row(sizes: DecoderSizes) -> int:
    """Numbers that a token has in a layer: streams, queries, keys, values, and the gated MLP."""
    return 6 * sizes.hidden + 2 * (sizes.query_width + 2 * sizes.key_width) + 3 * sizes.intermediate


def plan_memory(free: int, sizes: DecoderSizes, options: EngineOptions, context: int) -> MemoryPlan:
    """Divide `free` bytes of a GPU. RequestError with figures if the options do not fit.

    Keys and values take what the options say, else as much as is left and the model's `context` can
    use. The bank gets room for `max_rank`, or for the largest rank that fits, from 16 on.
    """
    room, least = int((1 - RESERVE) * free), min(_LEAST_RANK, options.max_rank)

    def fits(tokens: int, rank: int) -> bool:
        return engine_memory(sizes, options, tokens, rank).total <= room

    tokens = _tokens_asked(sizes, options, context)
    asked = min(context, _LEAST_TOKENS) if tokens is None else tokens
    if not fits(asked, least):
        raise RequestError(_too_large(free, room, sizes, options, asked, least, fits))
    rank = options.max_rank
    while rank > least and not (
        fits(asked, rank) and (tokens is not None or _modest(room, sizes, options, asked, rank))
    ):
        rank = max(least, rank // 2)
    if tokens is None:
        tokens = _most(lambda count: fits(count, rank), asked, context)
    kv_bytes = options.kv_bytes or options.slots * tokens * sizes.token_bytes
    return MemoryPlan(kv_bytes, rank)


def _tokens_asked(sizes: DecoderSizes, options: EngineOptions, context: int) -> int | None:
    """Tokens of each slot that the options ask for at the start; None if they do not say."""
    if options.kv_bytes is None:
        return options.slot_tokens
    limit = min(context, options.kv_bytes // (options.slots * sizes.token_bytes))
    if options.first_tokens is not None:
        return lengthened(options.first_tokens, limit)
    return options.slot_tokens or limit


def _modest(room: int, sizes: DecoderSizes, options: EngineOptions, tokens: int, rank: int) -> bool:
    """Whether a bank of this rank leaves most of the room to keys and values."""
    parts = engine_memory(sizes, options, tokens, rank)
    return parts.bank <= _BANK_SHARE * (room - parts.graphs - parts.steps)


def _most(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The largest number from `low`, which fits, to `high` that fits."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _too_large(
    free: int,
    room: int,
    sizes: DecoderSizes,
    options: EngineOptions,
    tokens: int,
    rank: int,
    fits: Callable[[int, int], bool],
) -> str:
    parts = engine_memory(sizes, options, tokens, rank)
    fewest = min(tokens, _LEAST_TOKENS)
    if fits(fewest, rank):
        kv_bytes = (
            options.slots * _most(lambda n: fits(n, rank), fewest, tokens) * sizes.token_bytes
        )
        remedy = (
            f"with these slots and adapters kv_gib {_rounded_down(kv_bytes)} would fit, or take "
            "fewer slots or adapters"
        )
    else:
        remedy = "take fewer slots or adapters, a larger share of a card, or a smaller base"
    return (
        f"the engine needs {_gib(parts.total)} GiB of this GPU beside the base's weights, and "
        f"{_gib(free)} are free, of which {_gib(room)} can be planned with: {_gib(parts.keys)} for "
        f"keys and values ({options.slots} slots of {tokens} tokens), {_gib(parts.bank)} for "
        f"{options.adapters} adapters of rank {rank}, {_gib(parts.graphs)} for CUDA graphs, "
        f"{_gib(parts.steps)} for a step; {remedy}"
    )


def _rounded_down(count: int) -> str:
    return f"{int(count / GIB * 100) / 100:g}"


def _gib(count: int) -> str:
    return f"{count / GIB:.2f}"
