"""Bytes that a training step holds at its fullest, counted from what autograd saves.

For a pre-norm decoder layer with SDPA attention and a gated MLP (Llama's layout), PEFT's LoRA in
fp32 on frozen weights, under autocast. Frozen weights make most products free: a linear without
LoRA saves nothing, a norm's scale and the rotation save no activation. What is saved was read off
`torch.autograd.graph.saved_tensors_hooks`, when it is held off the CPU allocator's records.
"""

from __future__ import annotations

from dataclasses import dataclass

from align.memory.machines import Machine
from align.memory.shape import FUSED, ModelShape
from align.memory.workload import Workload

#: TRL's loss projects onto the vocabulary in tiles of at most this many tokens and so many columns
#: (trl.kernels.chunked_logprob; the columns are allocated even for a small vocabulary).
TILE_TOKENS, TILE_COLUMNS = 4096, 32768
#: Tokens at a time on a CPU, with their logits and probabilities (align.compat.lm_head).
CPU_TOKENS = 64
#: Attention weights of a sample up to which training.cpu_attention takes the gradient there.
CPU_WEIGHTS = 2**20
FP32 = 4


@dataclass(frozen=True)
class Activations:
    """At the fullest moment of a step: what layers hold, and what the loss does."""

    layers: int
    logits: int

    @property
    def total(self) -> int:
        """Bytes."""
        return self.layers + self.logits


def activations(work: Workload, shape: ModelShape, machine: Machine) -> Activations:
    """The larger of two moments: the loss's gradient, or the layer that backward starts with.

    With checkpointing only each layer's input outlives the forward pass, and one layer at a time is
    computed again.
    """
    layer, stream = saved_by_layer(work, shape, machine), work.tokens * machine.width * shape.hidden
    final_norm = work.tokens * FP32 * shape.hidden
    scored = work.sequences * work.scored
    logits = loss_gradient(scored, shape, machine)
    mask = work.sequences * work.length**2 if work.padded else 0
    copies = machine.width * work.lora.parameters(shape) if machine.mixed else 0
    if work.checkpointing:
        held = shape.layers * stream
        inside = held + layer + copies // shape.layers
    else:
        held = shape.layers * layer - _unneeded(work, shape, machine) + copies
        inside = held
    at_loss = Activations(held + mask + final_norm + scored * machine.width * shape.hidden, logits)
    at_layer = Activations(inside + mask + passing(work, shape, machine), 0)
    return max(at_loss, at_layer, key=lambda moment: moment.total)


def _unneeded(work: Workload, shape: ModelShape, machine: Machine) -> int:
    """What the first layer need not save: its input, from a frozen embedding, has no gradient."""
    readers = len(work.lora.targets.intersection(FUSED[0])) if work.dropout else 0
    return work.tokens * shape.hidden * (FP32 + machine.dropout_mask * readers)


def saved_by_layer(work: Workload, shape: ModelShape, machine: Machine) -> int:
    """Bytes that autograd keeps of one layer between its forward and its backward pass."""
    width, wide = machine.width, shape.intermediate
    norms = 2 * FP32 * (shape.hidden + 1)
    keys = shape.query_width if work.padded else shape.key_width
    attention = width * (2 * shape.query_width + 2 * keys) + FP32 * shape.heads
    if _own_attention(work, shape, machine):
        attention = width * (shape.query_width + 2 * keys)  # neither its output nor its logsumexp
    elif work.padded:
        attention += width * work.length  # SDPA turns the mask into numbers, in each layer anew
    mlp = width * 3 * wide  # gate, its SiLU, up
    return work.tokens * (norms + attention + mlp + _lora_inputs(work, shape, machine))


def _own_attention(work: Workload, shape: ModelShape, machine: Machine) -> bool:
    """Whether training.cpu_attention takes the gradient: short rows on a CPU, a head for each."""
    for_each = work.padded or shape.query_width == shape.key_width
    short = shape.heads * work.length**2 <= CPU_WEIGHTS
    return machine.device == "cpu" and for_each and short


def _lora_inputs(work: Workload, shape: ModelShape, machine: Machine) -> int:
    """Of one token: what LoRA's two products keep, and the dropout between.

    PEFT casts the input to fp32 and autocast casts it back, so that each linear keeps a copy of its
    own even where three read the same. In fp32 there is one for all, unless dropout makes more.
    """
    inputs = {name: shape.linears[name][0] for name in work.lora.targets}
    inner = machine.width * work.lora.rank * len(inputs)
    masks = machine.dropout_mask * sum(inputs.values()) if work.dropout else 0
    if machine.mixed or work.dropout:
        return machine.width * sum(inputs.values()) + inner + masks
    shared = {_input_of(name): size for name, size in inputs.items()}
    return machine.width * sum(shared.values()) + inner


def _input_of(name: str) -> str:
    shared = {"q_proj": "attention", "k_proj": "attention", "v_proj": "attention"}
    return shared.get(name, "mlp" if name in ("gate_proj", "up_proj") else name)


def passing(work: Workload, shape: ModelShape, machine: Machine) -> int:
    """Bytes that one layer needs beyond what is saved, at its widest place.

    Forward, in `down_proj`: its input, LoRA's fp32 copy of that (and what dropout makes of it), the
    streams beside it and its outputs. Backward: the gradients of the MLP's product and of both its
    factors; or five fp32 copies of the stream in a norm.
    """
    width, hidden, wide = machine.width, shape.hidden, shape.intermediate
    streams, casts = 3, 0
    if "down_proj" in work.lora.targets:
        streams = 5  # base, LoRA and scaled LoRA: three outputs instead of one
        casts = FP32 * wide * (2 if work.dropout else 1) if machine.mixed else 0
    if not work.checkpointing:
        streams += 2  # the layer's input and the embedding's output are still in use
    forward = width * (wide + streams * hidden) + casts
    backward = width * (3 * wide + hidden)
    return work.tokens * max(forward, backward, 5 * FP32 * hidden)


def loss_gradient(scored: int, shape: ModelShape, machine: Machine) -> int:
    """Bytes that the log-probabilities of `scored` positions take beside their hidden states.

    On a GPU one tile of TRL's, in its backward pass, and the gradient in fp32. On a CPU the
    gradient is made and kept in the forward pass, in the products' dtype; beside it there are one
    block's logits and probabilities, later the gradient once more in fp32 and rounded.
    """
    if not scored:
        return 0
    if machine.device == "cuda":
        rows = min(scored, TILE_TOKENS)
        return rows * TILE_COLUMNS * machine.width + scored * FP32 * shape.hidden
    block = 2 * FP32 * min(scored, CPU_TOKENS) * shape.vocab
    kept, passed_on = machine.width * shape.hidden, (FP32 + machine.width) * shape.hidden
    return scored * kept + max(block, scored * passed_on)
