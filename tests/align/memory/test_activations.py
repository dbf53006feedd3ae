"""What a layer and the loss hold while a step is computed, worked out by hand."""

from dataclasses import replace

from align.compat import lm_head, torch_attention
from align.memory.activations import (
    CPU_TOKENS,
    CPU_WEIGHTS,
    activations,
    loss_gradient,
    saved_by_layer,
)
from align.memory.machines import Machine
from align.memory.shape import shape_of
from align.memory.workload import LoraSize
from tests.align.memory.workloads import T4, small, work
from tests.align.shapes import QWEN


def test_what_a_layer_saves_by_hand() -> None:
    tokens, fp16 = 10, 2
    norms = 2 * 4 * (8 + 1)
    attention = fp16 * (8 + 8 + 4 + 4) + 4 * 2  # queries, output, keys, values; logsumexp
    mlp = fp16 * 3 * 16
    queries = fp16 * (8 + 2)  # LoRA's input and what lies between A and B
    assert saved_by_layer(work(), small(), T4) == tokens * (norms + attention + mlp + queries)
    padded = fp16 * (2 * 4 + 10)  # keys and values repeated for each head, and a row of the mask
    dropout = 8
    assert saved_by_layer(work(padded=True, dropout=True), small(), T4) == tokens * (
        norms + attention + mlp + queries + padded + dropout
    )


def test_the_loss_is_a_tile_on_a_gpu_and_a_block_of_tokens_on_a_cpu() -> None:
    shape = shape_of(QWEN, "qwen")
    tile, gradient = 100 * 32768 * 2, 100 * 896 * 4
    assert loss_gradient(100, shape, T4) == tile + gradient
    assert loss_gradient(0, shape, T4) == 0
    cpu = Machine("cpu", 0, "bfloat16", "cpu")
    kept = 896 * 2
    assert loss_gradient(10, shape, cpu) == 10 * kept + 10 * 151_936 * 8
    assert loss_gradient(100, shape, cpu) == 100 * kept + 64 * 151_936 * 8
    assert loss_gradient(100_000, shape, cpu) == 100_000 * (kept + 896 * 6)
    assert loss_gradient(0, shape, cpu) == 0


def test_what_is_counted_on_a_cpu_is_what_training_does_there() -> None:
    assert lm_head.BLOCK == CPU_TOKENS
    assert torch_attention.MOST == CPU_WEIGHTS


def test_short_rows_on_a_cpu_save_less_of_attention() -> None:
    cpu = Machine("cpu", 0, "bfloat16", "cpu")
    short, long = work(padded=True), work(padded=True, length=1000)
    saved = saved_by_layer(short, small(), T4) - saved_by_layer(short, small(), cpu)
    assert saved == 10 * (2 * 8 + 4 * 2 + 2 * 10)  # output, logsumexp, a row of the mask
    assert saved_by_layer(long, small(), T4) == saved_by_layer(long, small(), cpu)


def test_checkpointing_needs_less_and_dropout_more() -> None:
    shape = shape_of(QWEN, "qwen")
    plain = work(lora=LoraSize(8, frozenset(shape.linears)), length=700, rows=4)
    held = activations(plain, shape, T4).total
    assert activations(replace(plain, checkpointing=True), shape, T4).total < held / 8
    assert activations(replace(plain, dropout=True), shape, T4).total > held
