"""What a layer and the loss hold while a step is computed, worked out by hand."""

import copy
from dataclasses import replace
from typing import Any

import torch
from peft import LoraConfig as PeftLora
from peft import get_peft_model
from peft.helpers import disable_input_dtype_casting

from align.base import Base
from align.compat import lm_head, torch_attention
from align.memory.activations import (
    CPU_TOKENS,
    CPU_WEIGHTS,
    activations,
    loss_gradient,
    saved_by_layer,
)
from align.memory.machines import GPUS, Machine
from align.memory.shape import shape_of
from align.memory.workload import LoraSize
from tests.align.memory.workloads import T4, small, work
from tests.align.shapes import QWEN

L4 = GPUS["L4"]


def test_what_a_layer_saves_by_hand() -> None:
    tokens, fp16 = 10, 2
    norms = 2 * 4 * (8 + 1)
    # Queries, output, keys and values repeated for each head; logsumexp.
    attention = fp16 * (8 + 8 + 8 + 8) + 4 * 2
    mlp = fp16 * 3 * 16
    queries = fp16 * (8 + 2)  # LoRA's input and what lies between A and B
    assert saved_by_layer(work(), small(), T4) == tokens * (norms + attention + mlp + queries)
    padded = fp16 * 10  # a row of the mask
    dropout = 8
    assert saved_by_layer(work(padded=True, dropout=True), small(), T4) == tokens * (
        norms + attention + mlp + queries + padded + dropout
    )


def test_keys_are_repeated_without_padding_too_where_there_is_no_flash_attention() -> None:
    repeated = 10 * 2 * 2 * 4  # tokens, bytes, keys and values, a second head
    assert saved_by_layer(work(), small(), T4) - saved_by_layer(work(), small(), L4) == repeated
    padded = work(padded=True)
    assert saved_by_layer(padded, small(), T4) == saved_by_layer(padded, small(), L4)
    shape = shape_of(QWEN, "qwen")
    rows = work(rows=4, whole=4, padded=True, length=500, scored=400)
    sizes = [activations(rows.in_batches_of(n, False), shape, T4).total for n in (1, 2, 4)]
    assert sizes == sorted(sizes), "halving takes less"


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


def test_linears_that_read_the_same_input_save_it_once() -> None:
    """Autocast casts nothing to fp32 and back; only dropout makes an input of each linear's own."""
    queries, all_three = (
        work(lora=LoraSize(2, frozenset(names)))
        for names in (["q_proj"], ["q_proj", "k_proj", "v_proj"])
    )
    inner = 10 * 2 * 2 * 2  # tokens, bytes, rank, two more linears
    more = saved_by_layer(all_three, small(), T4) - saved_by_layer(queries, small(), T4)
    assert more == inner
    more = saved_by_layer(replace(all_three, dropout=True), small(), T4) - saved_by_layer(
        replace(queries, dropout=True), small(), T4
    )
    assert more == inner + 10 * 2 * (2 + 1) * 8  # two more inputs, and their masks
    # A residual stream in fp32 is cast for each linear.
    held = saved_by_layer(replace(all_three, held=9), small(), T4)
    assert held - saved_by_layer(all_three, small(), T4) == 10 * 2 * 2 * 8
    assert saved_by_layer(replace(all_three, held=9), small(), L4) == saved_by_layer(
        all_three, small(), L4
    )


def test_all_logits_are_held_in_fp32_in_mixed_precision_too() -> None:
    """accelerate makes the outputs of a model in half precision fp32 before the loss."""
    orpo, fp32 = work(method="orpo"), Machine("fp32", T4.memory, "float32")
    for machine in (T4, L4, fp32):
        assert activations(orpo, small(), machine).logits == 20 * 32 * 14  # tokens of both sides


def test_a_residual_stream_in_fp32_is_held_in_fp32() -> None:
    shape = shape_of(QWEN, "qwen")
    plain = work(checkpointing=True, length=700, rows=4)
    more = activations(replace(plain, held=9), shape, T4).total
    assert more > activations(plain, shape, T4).total


def saved_bytes(model: Any, ids: torch.Tensor, casts: bool) -> int:
    """Bytes of what autograd saves in a forward pass under autocast, each tensor once."""
    saved: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_leaf:
            saved[tensor.data_ptr()] = tensor
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with disable_input_dtype_casting(model, not casts), hooks, torch.autocast("cpu"):
        model(input_ids=ids, use_cache=False)
    return sum(tensor.numel() * tensor.element_size() for tensor in saved.values())


def test_autograd_saves_an_input_once_where_peft_casts_nothing(tiny: Base) -> None:
    """What each linear's own cast takes is what is counted less than for an input of its own."""
    shell = copy.deepcopy(tiny.model).bfloat16().requires_grad_(False)
    model = get_peft_model(shell, PeftLora(target_modules="all-linear", r=2))
    ids = torch.arange(40)[None]
    with_casts, without = (saved_bytes(model, ids, casts) for casts in (True, False))
    shape, bf16 = shape_of(tiny.model.config.to_dict(), "tiny"), 2
    more_readers = 2 + 1  # keys and values beside the queries, and up beside gate
    saved_more = (with_casts - without) / ids.numel() / shape.layers
    assert saved_more == bf16 * shape.hidden * more_readers
    each, once = (
        saved_by_layer(
            work(lora=LoraSize(2, frozenset(shape.linears)), length=40, held=held), shape, T4
        )
        for held in (1, 0)  # where layers are in fp32, each linear is counted with its own input
    )
    assert (each - once) / 40 == saved_more
