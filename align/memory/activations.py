"""Peak bytes of activations in a training step, counted from the tensors that autograd saves.

Assumes a pre-norm decoder layer with SDPA attention and a gated MLP (Llama's layout), PEFT's LoRA
in fp32 on frozen weights, and autocast. With frozen weights most operations save nothing: a linear
without LoRA saves no tensor, a norm's scale and the rotation save no activation. Saved tensors were
determined with `torch.autograd.graph.saved_tensors_hooks`, their lifetimes from the records of the
CPU allocator.
"""

from __future__ import annotations

from dataclasses import dataclass

from align.memory.machines import Machine
from align.memory.shape import FUSED, ModelShape
from align.memory.workload import Workload

#: TRL's loss projects onto the vocabulary in tiles of at most TILE_TOKENS x TILE_COLUMNS
#: (trl.kernels.chunked_logprob; all columns are allocated even for a small vocabulary).
TILE_TOKENS, TILE_COLUMNS = 4096, 32768
#: Tokens of a block on a CPU, with their logits and probabilities (align.compat.lm_head).
CPU_TOKENS = 64
#: Attention weights of a sample up to which align.compat.torch_attention computes the gradient.
CPU_WEIGHTS = 2**20
#: Peak bytes for each token and word of a loss that holds all logits, their log-probabilities and
#: their gradients, measured on TRL's ORPOTrainer. accelerate makes the logits fp32 where a step is
#: in half precision, too (`convert_outputs_to_fp32`).
FULL = 14
FP32 = 4


@dataclass(frozen=True)
class Activations:
    """Bytes at the peak of a step: held by the layers, and by the loss."""

    layers: int
    logits: int

    @property
    def total(self) -> int:
        """Bytes."""
        return self.layers + self.logits


def activations(work: Workload, shape: ModelShape, machine: Machine) -> Activations:
    """The larger of two peaks: at the loss's gradient, and at the first layer of the backward pass.

    With checkpointing only the inputs of the layers are kept after the forward pass, and the layers
    are recomputed individually.
    """
    # A layer in fp32 leaves the residual stream in fp32.
    width = FP32 if work.held and machine.held_width else machine.width
    layer, stream = saved_by_layer(work, shape, machine), work.tokens * width * shape.hidden
    final_norm = work.tokens * FP32 * shape.hidden
    scored = work.sequences * work.scored
    logits = loss_gradient(scored, shape, machine)
    if work.training_method.full_logits:
        logits = work.tokens * shape.vocab * FULL
    mask = work.sequences * work.length**2 if work.padded else 0
    copies = machine.width * work.lora.parameters(shape) if machine.mixed else 0
    if work.checkpointing:
        held = shape.layers * stream
        in_layer = held + layer + copies // shape.layers
    else:
        held = shape.layers * layer - _unneeded(work, shape, machine) + copies
        in_layer = held
    at_loss = Activations(held + mask + final_norm + scored * machine.width * shape.hidden, logits)
    at_layer = Activations(in_layer + mask + passing(work, shape, machine), 0)
    return max(at_loss, at_layer, key=lambda peak: peak.total)


def _unneeded(work: Workload, shape: ModelShape, machine: Machine) -> int:
    """Bytes that the first layer need not save: a frozen embedding, its input, has no gradient."""
    readers = len(work.lora.targets.intersection(FUSED[0])) if work.dropout else 0
    return work.tokens * shape.hidden * (FP32 + machine.dropout_mask * readers)


def saved_by_layer(work: Workload, shape: ModelShape, machine: Machine) -> int:
    """Bytes that autograd saves in a layer between its forward and its backward pass."""
    width, wide = machine.width, shape.intermediate
    norms = 2 * FP32 * (shape.hidden + 1)
    expanded = work.padded or not machine.grouped_heads
    keys = shape.query_width if expanded else shape.key_width
    attention = width * (2 * shape.query_width + 2 * keys) + FP32 * shape.heads
    if _own_attention(work, shape, machine):
        attention = width * (shape.query_width + 2 * keys)  # neither its output nor its logsumexp
    elif work.padded:
        attention += width * work.length  # SDPA converts the mask to numbers in each layer
    mlp = width * 3 * wide  # gate, its SiLU, up
    return work.tokens * (norms + attention + mlp + _lora_inputs(work, shape, machine))


def _own_attention(work: Workload, shape: ModelShape, machine: Machine) -> bool:
    """Whether align.compat.torch_attention computes the gradient: on a CPU, for short rows.

    It requires a key head for each query head; with a mask the key heads are repeated.
    """
    expanded = work.padded or shape.query_width == shape.key_width
    short = shape.heads * work.length**2 <= CPU_WEIGHTS
    return machine.device == "cpu" and expanded and short


def _lora_inputs(work: Workload, shape: ModelShape, machine: Machine) -> int:
    """Bytes that LoRA's two products and the dropout save for each token.

    Linears that read the same input save it once. With dropout each linear saves its own, and so it
    does where the residual stream is in fp32 and autocast casts it for each linear.
    """
    inputs = {name: shape.linears[name][0] for name in work.lora.targets}
    inner = machine.width * work.lora.rank * len(inputs)
    masks = machine.dropout_mask * sum(inputs.values()) if work.dropout else 0
    if work.dropout or (work.held and machine.held_width):
        return machine.width * sum(inputs.values()) + inner + masks
    distinct = {_input_of(name): size for name, size in inputs.items()}
    return machine.width * sum(distinct.values()) + inner


def _input_of(name: str) -> str:
    inputs = {"q_proj": "attention", "k_proj": "attention", "v_proj": "attention"}
    return inputs.get(name, "mlp" if name in ("gate_proj", "up_proj") else name)


def passing(work: Workload, shape: ModelShape, machine: Machine) -> int:
    """Peak bytes that a layer needs in addition to the tensors that it saves.

    Forward, in `down_proj`: its input, with dropout also LoRA's fp32 copy before and after it, the
    residual streams and its outputs. Backward: the gradients of the MLP's product and of both
    factors; or five fp32 copies of the stream in a norm.
    """
    width, hidden, wide = machine.width, shape.hidden, shape.intermediate
    streams, casts = 3, 0
    if "down_proj" in work.lora.targets:
        streams = 5  # three outputs (base, LoRA and scaled LoRA) instead of a single output
        casts = 2 * FP32 * wide if machine.mixed and work.dropout else 0
    if not work.checkpointing:
        streams += 2  # the layer's input and the embedding's output are still in use
    forward = width * (wide + streams * hidden) + casts
    backward = width * (3 * wide + hidden)
    return work.tokens * max(forward, backward, 5 * FP32 * hidden)


def loss_gradient(scored: int, shape: ModelShape, machine: Machine) -> int:
    """Bytes of the log-probabilities of `scored` positions, in addition to their hidden states.

    On a GPU: a tile of TRL's backward pass, and the gradient in fp32. On a CPU the gradient is
    computed and kept in the forward pass, in the products' dtype. In addition there are the logits
    and probabilities of a block, and later a copy of the gradient in fp32 and a rounded copy.
    """
    if not scored:
        return 0
    if machine.device == "cuda":
        rows = min(scored, TILE_TOKENS)
        return rows * TILE_COLUMNS * machine.width + scored * FP32 * shape.hidden
    block = 2 * FP32 * min(scored, CPU_TOKENS) * shape.vocab
    gradient, copies = machine.width * shape.hidden, (FP32 + machine.width) * shape.hidden
    return scored * gradient + max(block, scored * copies)
