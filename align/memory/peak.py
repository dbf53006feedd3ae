"""The prediction of a trial's peak memory, by part."""

from __future__ import annotations

from dataclasses import dataclass, fields

from align.inference.options import BESIDE_TRAINING, EngineOptions
from align.memory.activations import activations
from align.memory.engine import engine_bytes
from align.memory.machines import Machine
from align.memory.shape import ModelShape
from align.memory.workload import Workload

#: Bytes of each trained weight: the weight, its gradient and AdamW's two moments, in fp32.
TRAINED = 4 * 4
FP32 = 4


@dataclass(frozen=True)
class Peak:
    """Bytes at the peak of training.

    `weights`: the frozen base; `parent`: the adapters of earlier stages; `adapter`: the new LoRA
    with gradients and AdamW's moments, and the reward head; `activations` and `logits`: of a
    micro-batch; `engine`: keys, values and adapters for generation; `overhead`: CUDA's context and
    the fragmentation of the allocator.
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
        """Bytes that torch's allocator has allocated at the peak."""
        return self.total - self.overhead

    def to_json(self) -> dict[str, int]:
        """Bytes of each part and the total."""
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
    """Peak memory of a trial; with `engine` None, of its training only."""
    step = activations(work, shape, machine)
    head = 2 * shape.hidden if work.training_method.trains_reward_model else 0
    parts = {
        "weights": machine.width * shape.parameters + machine.held_width * work.held,
        "parent": _parent(work, shape, machine),
        "adapter": TRAINED * (work.lora.parameters(shape) + head),
        "activations": step.layers,
        "logits": step.logits,
        "engine": 0 if engine is None else engine_bytes(work, shape, machine, engine),
    }
    return Peak(**parts, overhead=machine.overhead(sum(parts.values())))


def _parent(work: Workload, shape: ModelShape, machine: Machine) -> int:
    """Bytes of the parents beneath the model.

    Rollouts on a GPU also hold them in fp32, to stack the policy on them at each step.
    """
    stacked = FP32 if work.training_method.online and machine.device == "cuda" else 0
    return (machine.width + stacked) * sum(lora.parameters(shape) for lora in work.beneath)
