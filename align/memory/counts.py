"""Kernel launches, bytes and operations of the engine's forward passes, as arithmetic.

Counted is what `align.inference` runs on a GPU in half precision, with the plain operations of
`align.inference.kernels.plain`: a launch for each operation that is no view, the bytes of its
inputs and of its result, and two operations for each product of two numbers in a matrix product.
Adapters are on all linears. `tests/align/memory/test_counts.py` compares the numbers with a run on
meta tensors. A norm of the heads (Qwen3) and sliding windows are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    layer = _around_attention(shape, rows) + _decode_attention(shape, rows, longest)
    if ranks:
        for inputs, outputs in shape.linears.values():
            layer += _lora_of_rows(rows, inputs, outputs, _capacity(ranks))
    return _outside(shape, rows) + layer * shape.layers + _logits(shape, rows)


def read_prompts(shape: ModelShape, prompts: Sequence[int], ranks: Sequence[int] = ()) -> Counts:
    """One forward pass over whole prompts of these lengths, up to the logits of their last tokens.

    `ranks` are those of the adapters in the bank; the prompts take them in turn.
    """
    tokens, attention = sum(prompts), Counts()
    for length in prompts:
        attention += _span_attention(shape, length)
    gathered = 2 * HALF * tokens * shape.query_width
    layer = _around_attention(shape, tokens) + attention + Counts(1, gathered)
    if ranks:
        runs = (
            prompts if len(ranks) > 1 else [tokens]
        )  # neighbours of one adapter are read together
        for inputs, outputs in shape.linears.values():
            for length in runs:
                layer += _lora_of_prompts(length, inputs, outputs, _capacity(ranks))
    last = Counts(1, INT64 * len(prompts) + 2 * HALF * len(prompts) * shape.hidden)
    return _outside(shape, tokens) + layer * shape.layers + last + _logits(shape, len(prompts))


def _outside(shape: ModelShape, tokens: int) -> Counts:
    """Embedding, rotation angles and the last norm."""
    embedding = Counts(1, tokens * (INT64 + 2 * HALF * shape.hidden))
    angles = tokens * shape.head_dim
    positions = Counts(2, tokens * (INT32 + INT64 + INT64 + FP32))  # to int64, then to fp32
    frequencies = Counts(1, tokens * FP32 + FP32 * shape.head_dim // 2 + FP32 * angles // 2)
    # Both halves are the same angles; then cosine and sine, each scaled and rounded.
    rotation = Counts(7, angles * (2 * FP32 + 2 * (2 * FP32 + 2 * FP32 + FP32 + HALF)))
    return embedding + positions + frequencies + rotation + _norm(tokens, shape.hidden)


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
    counts += _rotated(tokens, shape.heads, shape.head_dim)
    counts += _rotated(tokens, shape.kv_heads, shape.head_dim)
    indices = Counts(2, 2 * tokens * (INT32 + INT64))
    stored = Counts(1, tokens * (2 * INT64 + 2 * HALF * shape.key_width)) * 2
    together = _elementwise(tokens * (shape.query_width + 2 * shape.key_width), 2)
    return counts + indices + stored + together


def _norm(tokens: int, width: int) -> Counts:
    """RMS norm: to fp32, square, mean, epsilon, inverse root, product, rounded, product."""
    by_value = (HALF + FP32) + 2 * FP32 + FP32 + 2 * FP32 + (FP32 + HALF) + 2 * HALF
    by_token = FP32 + 2 * FP32 + 2 * FP32 + FP32
    return Counts(8, tokens * (width * by_value + by_token) + HALF * width)


def _rotated(tokens: int, heads: int, head: int) -> Counts:
    """RoPE: the negative half, both halves, two products with the angles, and their sum."""
    values = tokens * heads * head
    moved = values + 2 * values + 2 * (2 * values + tokens * head) + 3 * values
    return Counts(5, HALF * moved)


def _decode_attention(shape: ModelShape, rows: int, longest: int) -> Counts:
    """Attention of each row's query over its slot, from keys and values that are gathered."""
    places = rows * longest
    ranges = Counts(2, INT64 * (longest + shape.kv_heads))
    slots = Counts(1, rows * (INT32 + INT64))
    bounded = Counts(1, INT64 * longest + INT32 * rows + INT64 * places)
    visible = Counts(1, INT64 * longest + INT32 * rows + places)
    keys = HALF * places * shape.key_width
    index = INT64 * (rows + shape.kv_heads + places)
    gathered = Counts(1, index + 2 * keys) * 2
    attended = _attention(shape, rows, 2 * keys, places, places)
    return ranges + slots + bounded + visible + gathered + attended


def _span_attention(shape: ModelShape, length: int) -> Counts:
    """Causal attention of a whole prompt over its slot, and its result token by token."""
    keys = 2 * HALF * length * shape.key_width
    attended = _attention(shape, length, keys, length * length, 0)
    return attended + Counts(1, 2 * HALF * length * shape.query_width)


def _attention(shape: ModelShape, tokens: int, keys: int, pairs: int, mask: int) -> Counts:
    """A fused attention kernel: bytes of `keys` and values, and of the mask."""
    both = 2 * HALF * tokens * shape.query_width
    return Counts(1, both + keys + mask, 4 * pairs * shape.query_width)


def _product(tokens: int, inputs: int, outputs: int, bias: bool = False) -> Counts:
    values = tokens * inputs + inputs * outputs + tokens * outputs + (outputs if bias else 0)
    return Counts(1, HALF * values, 2 * tokens * inputs * outputs)


def _capacity(ranks: Sequence[int]) -> int:
    """The rank that every slot of the bank has room for."""
    return 1 << (max(ranks) - 1).bit_length()


def _lora_of_rows(rows: int, inputs: int, outputs: int, rank: int) -> Counts:
    """LoRA of a decode step: both factors are gathered for each row, at the bank's capacity."""
    slots = Counts(4, rows * ((INT32 + INT64) + 2 * INT64 + (INT64 + 1) + (1 + HALF)))
    masked = Counts(1, HALF * rows * (2 * inputs + 1))
    gathered = Counts(2, rows * (2 * INT64 + 2 * HALF * rank * (inputs + outputs)))
    down = HALF * rows * (inputs + rank * inputs + rank)
    up = HALF * rows * (rank + rank * outputs + outputs)
    products = Counts(2, down + up, 2 * rows * rank * (inputs + outputs))
    return slots + masked + gathered + products + _elementwise(rows * outputs, 3)


def _lora_of_prompts(tokens: int, inputs: int, outputs: int, rank: int) -> Counts:
    """LoRA of the prompts of an adapter: two products, the second onto the layer's output."""
    up = HALF * (tokens * rank + rank * outputs + 2 * tokens * outputs)
    return _product(tokens, inputs, rank) + Counts(1, up, 2 * tokens * rank * outputs)


def _logits(shape: ModelShape, rows: int) -> Counts:
    return _product(rows, shape.hidden, shape.vocab)


def _elementwise(values: int, tensors: int) -> Counts:
    """An operation that reads or writes `tensors` tensors of so many values."""
    return Counts(1, HALF * values * tensors)
