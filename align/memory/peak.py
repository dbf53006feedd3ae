"""The prediction: a trial's peak memory, part by part."""

from __future__ import annotations

from dataclasses import dataclass, fields

from align.inference.options import BESIDE_TRAINING, EngineOptions
from align.memory.activations import activations
from align.memory.engine import engine_bytes
from align.memory.machines import Machine
from align.memory.shape import ModelShape
from align.memory.workload import Workload

#: Of each trained weight: itself, its gradient and AdamW's two moments, in fp32.
TRAINED = 4 * 4


@dataclass(frozen=True)
class Peak:
    """Bytes at the fullest moment of training.

    `weights` frozen base; `parent` adapters beneath; `adapter` new LoRA with gradients and AdamW's
    moments, and the reward head; `activations` and `logits` of one micro-batch; `engine` keys,
    values and adapters for generation; `overhead` CUDA's context and the allocator's gaps.
    """

    weights: int
    parent: int
    adapter: int
    activations: int
    logits: int
    engine: int
    overhead: int

    @property
    def total(self) -> int:
        """Bytes of the whole process."""
        return sum(getattr(self, part.name) for part in fields(self))

    @property
    def tensors(self) -> int:
        """Bytes that torch's allocator hands out at the peak."""
        return self.total - self.overhead

    def to_json(self) -> dict[str, int]:
        """Bytes of each part and of all."""
        return {
            **{part.name: getattr(self, part.name) for part in fields(self)},
            "total": self.total,
        }


def predict(
    work: Workload,
    shape: ModelShape,
    machine: Machine,
    engine: EngineOptions | None = BESIDE_TRAINING,
) -> Peak:
    """Peak memory of one trial; without an `engine`, of its training alone."""
    step = activations(work, shape, machine)
    head = 2 * shape.hidden if work.method == "reward" else 0
    parts = {
        "weights": machine.width * shape.parameters,
        "parent": machine.width * sum(one.parameters(shape) for one in work.beneath),
        "adapter": TRAINED * (work.lora.parameters(shape) + head),
        "activations": step.layers,
        "logits": step.logits,
        "engine": 0 if engine is None else engine_bytes(work, shape, machine, engine),
    }
    return Peak(**parts, overhead=machine.overhead(sum(parts.values())))
