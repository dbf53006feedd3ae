"""Kernel launches, bytes and operations of the engine's forward passes, as arithmetic.

Counted is what `align.inference` runs on a GPU in half precision, with the plain operations of
`align.inference.kernels.plain`: a launch for each operation that is no view, the bytes of its
inputs and of its result, and two operations for each product of two numbers in a matrix product.
Adapters are on all linears, their columns side by side in the bank. `tests/align/memory` compares
the numbers with a run on meta tensors. Norms of heads (Qwen3) and windows are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from align.inference.scheduling.lora_blocks import NEEDLESS, merged
from align.memory.shape import FUSED, ModelShape

FP32 = INT32 = 4
INT64 = 8
#: Bytes of a number in the weights and in the activations: fp16 or bf16.
HALF = 2


@dataclass(frozen=True)
class Counts:
    """Kernel launches, bytes read and written, and operations of matrix products."""

    launches: int = 0
    bytes: int = 0
    operations: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.launches + other.launches,
            self.bytes + other.bytes,
            self.operations + other.operations,
        )

    def __mul__(self, times: int) -> Counts:
        return Counts(self.launches * times, self.bytes * times, self.operations * times)


def decode_step(shape: ModelShape, rows: int, longest: int, ranks: Sequence[int] = ()) -> Counts:
    """A decode step of `rows` rows, each attending to `longest` positions, up to its logits.

    `ranks` are those of the adapters in the bank; without any, no row has an adapter.
    """
    keys, columns = _whole(longest), _whole(sum(ranks))
    layer = _around_attention(shape, rows) + _decode_attention(shape, rows, keys)
    total = _outside(shape, rows) + _places(shape, rows, keys) + _logits(shape, rows)
    if columns:
        total += _foreign(rows, columns)
        layer += _lora(shape, rows, columns, masked=True)
    return total + layer * shape.layers


def read_prompts(shape: ModelShape, prompts: Sequence[int], ranks: Sequence[int] = ()) -> Counts:
    """One forward pass over whole prompts of similar lengths, up to their last logits.

    `ranks` are those of the adapters in the bank; the prompts take them in turn. Prompts of similar
    lengths are attended together.
    """
    tokens, count, longest = sum(prompts), len(prompts), max(prompts)
    layer = _around_attention(shape, tokens)
    total = _outside(shape, tokens) + _logits(shape, count)
    total += Counts(1, INT64 * count + 2 * HALF * count * shape.hidden)
    if count == 1:
        layer += _span_attention(shape, longest)
    else:
        layer += _group_attention(shape, count, longest, _whole(longest))
        total += _padding(shape, count, longest, _whole(longest))
    for length, slots in _lora_blocks(prompts, ranks):
        columns, masked = _whole(sum(ranks[slot] for slot in slots)), len(slots) > 1
        layer += _lora(shape, length, columns, masked, copied=len(slots) < len(ranks))
        total += _foreign(length, columns) if masked else Counts()
    return total + layer * shape.layers


def _lora_blocks(prompts: Sequence[int], ranks: Sequence[int]) -> list[tuple[int, frozenset[int]]]:
    """Tokens and adapters of each LoRA product."""
    ends = list(accumulate(prompts)) if ranks else []
    groups = [
        (end - length, end, at % len(ranks))
        for at, (length, end) in enumerate(zip(prompts, ends, strict=False))
    ]
    blocks = merged(groups, ranks.__getitem__, NEEDLESS)
    return [(end - first, slots) for first, end, slots in blocks]


def _outside(shape: ModelShape, tokens: int) -> Counts:
    """Embedding, indices (tokens, slots, positions), rotation angles and the last norm."""
    embedding = Counts(1, tokens * (INT64 + 2 * HALF * shape.hidden))
    angles = tokens * shape.head_dim
    indices = Counts(3, 3 * tokens * (INT32 + INT64))
    frequencies = Counts(1, tokens * (INT64 + FP32))
    frequencies += Counts(1, tokens * FP32 + FP32 * shape.head_dim // 2 + FP32 * angles // 2)
    # Both halves are the same angles; then cosine and sine, each scaled and rounded.
    rotation = Counts(7, angles * (2 * FP32 + 2 * (2 * FP32 + 2 * FP32 + FP32 + HALF)))
    return embedding + indices + frequencies + rotation + _norm(tokens, shape.hidden)


def _around_attention(shape: ModelShape, tokens: int) -> Counts:
    """A layer without LoRA and without attention itself: norms, products, rotation, residuals."""
    counts = _norm(tokens, shape.hidden) * 2 + _elementwise(tokens * shape.hidden, 3) * 2
    for group in FUSED:
        inputs = shape.linears[group[0]][0]
        outputs = sum(shape.linears[name][1] for name in group)
        bias = shape.attention_bias and group == FUSED[0]
        counts += _product(tokens, inputs, outputs, bias)
    counts += _elementwise(tokens * shape.intermediate, 2)  # SiLU
    counts += _elementwise(tokens * shape.intermediate, 3)
    stored = Counts(1, tokens * (2 * INT64 + 2 * HALF * shape.key_width)) * 2
    return counts + _rotated(shape, tokens) + stored


def _norm(tokens: int, width: int) -> Counts:
    """RMS norm, a single kernel."""
    return Counts(1, HALF * width * (2 * tokens + 1))


def _rotated(shape: ModelShape, tokens: int) -> Counts:
    """RoPE of queries and keys: the product with the cosine, and by halves that with the sine."""
    values, angles = tokens * (shape.query_width + shape.key_width), tokens * shape.head_dim
    return Counts(3, HALF * (2 * values + angles + 2 * (3 * values + angles) // 2 + values))


def _places(shape: ModelShape, rows: int, keys: int) -> Counts:
    """What all layers of a decode step share: the index of the keys, and the bias of the scores."""
    places = rows * keys
    ranges = Counts(2, INT64 * (keys + shape.kv_heads))
    bounded = Counts(1, INT64 * (keys + rows + places))
    hidden = Counts(1, INT64 * (keys + rows) + places)
    return ranges + bounded + hidden + _bias(places)


def _bias(places: int) -> Counts:
    """Zeros, and minus infinity where a mask says so."""
    return Counts(2, places * (HALF + 2 * HALF + 1))


def _decode_attention(shape: ModelShape, rows: int, keys: int) -> Counts:
    """Attention of each row's query over its slot, from keys and values that are gathered."""
    gathered = _gathered_keys(shape, rows, keys)
    return gathered + _attention(shape, rows, rows * keys, rows * keys, HALF * rows * keys)


def _gathered_keys(shape: ModelShape, slots: int, keys: int) -> Counts:
    index = INT64 * (slots + shape.kv_heads + slots * keys)
    return Counts(1, index + 2 * HALF * slots * keys * shape.key_width) * 2


def _span_attention(shape: ModelShape, length: int) -> Counts:
    """Causal attention of a prompt over its slot, and the copy of its result."""
    attended = _attention(shape, length, length, length * length, 0)
    return attended + _elementwise(length * shape.query_width, 2)


def _padding(shape: ModelShape, prompts: int, queries: int, keys: int) -> Counts:
    """What all layers share of prompts that are padded: indices, and the bias of the scores."""
    places = prompts * queries * keys
    indices = Counts(14, INT64 * prompts * (5 * queries + 2 * keys))
    hidden = Counts(1, places) + _bias(places)
    return indices + hidden + Counts(1, HALF * places * (1 + shape.kv_heads))


def _group_attention(shape: ModelShape, prompts: int, queries: int, keys: int) -> Counts:
    """Attention of prompts that are padded to `queries` and `keys`, gathered and written back."""
    places, pairs = prompts * queries, prompts * queries * keys
    index = INT64 * (places + shape.heads)
    moved = Counts(1, index + 2 * HALF * places * shape.query_width) * 2
    mask = HALF * pairs * shape.kv_heads
    attended = _attention(shape, places, prompts * keys, pairs, mask)
    return moved + _gathered_keys(shape, prompts, keys) + attended


def _attention(shape: ModelShape, queries: int, keys: int, pairs: int, mask: int) -> Counts:
    """A fused attention kernel over `keys` places, with a bias of `mask` bytes."""
    numbers = 2 * queries * shape.query_width + 2 * keys * shape.key_width
    return Counts(1, HALF * numbers + mask, 4 * pairs * shape.query_width)


def _product(tokens: int, inputs: int, outputs: int, bias: bool = False) -> Counts:
    values = tokens * inputs + inputs * outputs + tokens * outputs + (outputs if bias else 0)
    return Counts(1, HALF * values, 2 * tokens * inputs * outputs)


def _whole(count: int) -> int:
    """Columns and keys come in multiples of 16."""
    return -(-count // 16) * 16


def _foreign(tokens: int, columns: int) -> Counts:
    """The mask of the columns that belong to adapters of other tokens."""
    return Counts(1, INT32 * (columns + tokens) + tokens * columns)


def _lora(
    shape: ModelShape, tokens: int, columns: int, masked: bool, copied: bool = False
) -> Counts:
    """LoRA of a layer's linears: products with all `columns`, of linears on one input together.

    With `copied` the columns are a part of the bank, of which A has to be copied.
    """
    counts = Counts()
    for group in FUSED:
        widths, inputs = [shape.linears[name][1] for name in group], shape.linears[group[0]][0]
        narrow, outputs = columns * len(group), sum(widths)
        counts += _product(tokens, inputs, narrow)
        if masked:
            counts += Counts(1, tokens * (2 * HALF * narrow + columns))
        if copied and len(group) > 1:
            counts += _elementwise(narrow * inputs, 2)
        numbers = 2 * tokens * outputs + tokens * narrow + columns * outputs
        runs = len(list(groupby(widths)))  # neighbours with equally many outputs share a product
        counts += Counts(runs, HALF * numbers, 2 * tokens * columns * outputs)
    return counts


def _logits(shape: ModelShape, rows: int) -> Counts:
    return _product(rows, shape.hidden, shape.vocab)


def _elementwise(values: int, tensors: int) -> Counts:
    """An operation that reads or writes `tensors` tensors of so many values."""
    return Counts(1, HALF * values * tensors)
