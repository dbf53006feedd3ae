"""Rough estimates of a trial's duration, from the operations of its steps. Imports no torch.

Floating-point operations as in arXiv 2001.08361 (section 2.1): two for each weight and token of a
forward pass, and as many for the gradient of its input; frozen weights need no gradient of their
own. The share of its peak that a machine reaches is an assumption with a low and a high value, so
that the result is a range. Small models on a GPU are bound by the launch time of kernels instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from align.memory.machines import Machine
from align.memory.shape import ModelShape
from align.memory.workload import Workload
from align.methods import Kind

#: Products of a position with the vocabulary: forward, again in the backward pass of the chunked
#: loss (trl.kernels.chunked_logprob), and the gradient. On a CPU the forward product runs once.
_HEAD_PASSES = {"cuda": 3, "cpu": 2}
#: Rows that the engine decodes at a time beside training (BESIDE_TRAINING).
_ROWS = 32
#: Sampled answers of a rung, by the defaults of `rung_prompts` and `rung_samples`.
SAMPLED = 128
#: Sequences of a held-out item that each kind of measurement reads, apart from generated answers.
_SEQUENCES: dict[Kind, int] = {
    "answers": 0, "wins": 1, "pairs": 2, "implied": 4, "completions": 1, "labels": 2,
    "divergence": 2, "sampled": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Range:
    """A range from `low` to `high`, in seconds, hours or money."""

    low: float = 0.0
    high: float = 0.0

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Speed:
    """A machine's peak operations and bytes a second, and the shares of both that it reaches.

    `slow` and `fast` are the low and the high share. `layer` is the seconds that the kernel
    launches of a layer take in a forward pass with LoRA.
    """

    operations: float
    bandwidth: float
    slow: float
    fast: float
    layer: Range


def _gpu(tera: float, giga: float) -> Speed:
    return Speed(tera * 1e12, giga * 1e9, 0.12, 0.35, Range(0.6e-3, 1.5e-3))


#: Matrix products in the dtype of training (without sparsity) and memory bandwidth, from the
#: manufacturers' data sheets: tera-operations and gigabytes a second.
SPEEDS: dict[str, Speed] = {
    "T4": _gpu(65, 320),
    "L4": _gpu(121, 300),
    "A10G": _gpu(70, 600),
    "RTX3090": _gpu(71, 936),
    "RTX4090": _gpu(165, 1008),
    "A100-40": _gpu(312, 1555),
    "A100-80": _gpu(312, 2039),
    "H100": _gpu(989, 3350),
}
#: Speed of a core with AVX-512 in bf16, fitted to measurements on two cores with a trial on each:
#: SFT of SmolLM2 at 2.1 to 2.6 s a step of 8 rows, decode steps of 32 rows at 90 ms.
CORE = Speed(440e9, 8e9, 0.2, 0.5, Range())


def speed_of(machine: Machine, cores: int = 1) -> Speed:
    """The speed of a GPU, by its name, or of `cores` CPU cores."""
    if machine.device == "cuda":
        return SPEEDS[machine.name]
    return Speed(CORE.operations * cores, CORE.bandwidth * cores, CORE.slow, CORE.fast, CORE.layer)


def step_seconds(
    work: Workload, shape: ModelShape, machine: Machine, tokens: int, cores: int = 1
) -> Range:
    """Seconds of an optimizer step on sequences of `tokens`, with an online method's generation."""
    speed = speed_of(machine, cores)
    positions = work.sequences * work.steps * tokens
    scored = 0 if work.training_method.trains_reward_model else min(work.scored, tokens)
    passes = 3 if work.checkpointing else 2
    operations = positions * passes * _forward(shape, tokens)
    operations += positions * 6 * work.lora.parameters(shape)
    head = 2 * shape.hidden * shape.vocab * _HEAD_PASSES[machine.device]
    operations += work.sequences * work.steps * scored * head
    launches = speed.layer * (shape.layers * passes * work.steps)
    seconds = _longest(operations / speed.operations, speed, launches)
    if not work.training_method.online:
        return seconds
    prompt = max(1, tokens - work.scored)
    return seconds + written(work.batch, prompt, work.scored, shape, machine, cores)


def written(
    rows: int, prompt: int, answer: int, shape: ModelShape, machine: Machine, cores: int = 1
) -> Range:
    """Seconds in which the engine reads `rows` prompts and generates as many full answers."""
    speed, batch = speed_of(machine, cores), min(rows, _ROWS)
    decodes = -(-rows // _ROWS) * answer
    token = _forward(shape, prompt + answer) + 2 * shape.hidden * shape.vocab
    by_weights = machine.width * shape.parameters / speed.bandwidth
    read = rows * prompt * token / speed.operations
    return _longest(
        read + decodes * max(by_weights, batch * token / speed.operations), speed, Range()
    )


def measured_seconds(
    kinds: Iterable[Kind],
    items: int,
    tokens: int,
    answer: int,
    shape: ModelShape,
    machine: Machine,
    cores: int = 1,
) -> Range:
    """Seconds of measuring `items` held-out items with each kind; answers have `answer` tokens."""
    speed, total = speed_of(machine, cores), Range()
    token = _forward(shape, tokens) + 2 * shape.hidden * shape.vocab
    for kind in kinds:
        if kind in ("answers", "sampled"):
            answers = SAMPLED if kind == "sampled" else items
            total += written(answers, tokens, answer, shape, machine, cores)
        operations = _SEQUENCES[kind] * items * tokens * token
        total += _longest(operations / speed.operations, speed, Range())
    return total


def _forward(shape: ModelShape, length: int) -> int:
    """Operations of a position in a forward pass through all layers, in a sequence of `length`."""
    linears = sum(inputs * outputs for inputs, outputs in shape.linears.values())
    causal = 2 * length * shape.query_width  # scores and values, for half of the positions each
    return shape.layers * (2 * linears + causal)


def _longest(at_peak: float, speed: Speed, launches: Range) -> Range:
    """Seconds at the reached share of the peak, or of the concurrent kernel launches if longer."""
    return Range(max(at_peak / speed.fast, launches.low), max(at_peak / speed.slow, launches.high))
