"""How many trials share a GPU: by the memory that each will need, and held to on the worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from align.errors import ModelError
from align.memory.fit import StageFit, fit_stages
from align.memory.machines import CONTEXT, GIB, GPUS, Machine
from align.memory.peak import predict
from align.memory.shape import ModelShape, read_shape
from align.recipe import Recipe
from align.recipe.model import is_reference
from cluster.pool import Node
from sweeps.errors import SweepError

#: Ray's names of GPUs whose memory is known; of one name with two sizes, the smaller.
MACHINES: dict[str, Machine] = {
    **{name: GPUS[name] for name in ("T4", "P100", "L4", "A10G", "H100")},
    "V100": GPUS["V100-16"],
    "A100": GPUS["A100-40"],
    "A100-40G": GPUS["A100-40"],
    "A100-80G": GPUS["A100-80"],
}
#: Ray counts a resource in parts of 1/10,000. Coarser shares would let one more trial onto a card
#: than fit: rounded down to 1/100, thirteen trials and fourteen have the same.
_SHARES = 10_000


def gpu_shares(
    recipe: Recipe,
    stages: Sequence[str],
    nodes: Sequence[Node],
    accelerator: str | None = None,
    cpus_per_trial: int = 1,
) -> tuple[dict[str, float], tuple[str, ...]]:
    """By stage the share of a GPU that a trial claims, and what the person should know of it.

    `nodes` are those with GPUs on which trials may land. SweepError if a stage does not fit.
    """
    machine, why = _machine(accelerator, nodes)
    if machine is None:
        return dict.fromkeys(stages, 1.0), (f"{why}: one trial a GPU",)
    try:
        shape = read_shape(recipe.base)
    except ModelError as error:
        return dict.fromkeys(stages, 1.0), (f"memory is not predicted, one trial a GPU: {error}",)
    fits = fit_stages(recipe, list(stages), shape, machine)
    notes = list(_uncounted(recipe, stages))
    for one in fits:
        if not one.worst.sharing:
            if not _halved(one, shape):
                raise SweepError(_too_large(one, "does not fit"))
            notes.append(
                f"{_too_large(one, 'may not fit')}. Workers halve micro-batches themselves"
            )
    most = max((int(node.cpus // cpus_per_trial // node.gpus) for node in nodes), default=None)
    return {one.stage: _share(max(1, one.worst.sharing), most) for one in fits}, tuple(notes)


def _share(sharing: int, most: int | None) -> float:
    """Of a GPU that `sharing` trials fit on, where CPUs allow `most` of them (None: unknown)."""
    trials = sharing if most is None else max(1, min(sharing, most))
    return int(_SHARES / trials) / _SHARES


def _machine(accelerator: str | None, nodes: Sequence[Node]) -> tuple[Machine | None, str]:
    """The card with the least memory that a trial may land on, or why it is not known."""
    names = {accelerator} if accelerator else {node.accelerator for node in nodes}
    unknown = sorted(str(name) for name in names if name not in MACHINES)
    if unknown:
        told = ", ".join("of no named type" if name == "None" else name for name in unknown)
        return None, f"the memory of GPUs {told} is not known"
    return min((MACHINES[str(name)] for name in names), key=lambda one: one.memory), ""


def _halved(fit: StageFit, shape: ModelShape) -> bool:
    """Whether it fits in the smaller micro-batches that a worker takes when memory runs out."""
    worst = fit.worst
    smallest = worst.work.in_batches_of(worst.work.least, worst.work.checkpointing)
    return worst.machine.holds(predict(smallest, shape, worst.machine).total) > 0


def _too_large(fit: StageFit, verb: str) -> str:
    worst, better = fit.worst, fit.proposal
    drawn = "".join(f", {path} {value}" for path, value in worst.params.items())
    needs = (
        f"stage '{fit.stage}' {verb} a {worst.machine.name}: with {worst.work.length} tokens a "
        f"sequence{drawn} a trial needs {_gib(worst.peak.total)} of its "
        f"{_gib(worst.machine.memory)} GiB"
    )
    if better is None:
        length = "max_completion_length" if worst.work.method == "grpo" else "max_length"
        return (
            f"{needs}, even at micro-batch {worst.work.least} with gradient_checkpointing; lower "
            f"{length} or lora.r, or take a larger card or a smaller base"
        )
    work = better.work
    return (
        f"{needs}; it fits with per_device_train_batch_size: {work.rows}, "
        f"gradient_accumulation_steps: {work.steps}, gradient_checkpointing: "
        f"{str(work.checkpointing).lower()} ({_gib(better.peak.total)} GiB; the effective batch "
        f"stays {work.batch}); `alignery recipe fit` shows the parts"
    )


def _uncounted(recipe: Recipe, stages: Sequence[str]) -> Iterator[str]:
    for stage in stages:
        config = recipe.stages[stage]
        named = [one for one in (config.parent, config.reward_model) if one and is_reference(one)]
        if named:
            yield f"stage '{stage}': the memory of {' and '.join(named)} is not counted"


def _gib(count: int) -> str:
    return f"{count / GIB:.2f}"


def hold_to_share(share: float) -> None:
    """Keep this process within its share of its GPU, so that a wrong prediction is its own loss.

    Ray's fractions of a GPU are bookkeeping. Nothing is to be done for a whole GPU, and where torch
    is not imported or finds no CUDA.
    """
    torch = sys.modules.get("torch")
    if torch is None or not 0 < share < 1 or not torch.cuda.is_available():
        return
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    torch.cuda.set_per_process_memory_fraction(tensor_fraction(share, total))


def tensor_fraction(share: float, total: int) -> float:
    """Of a GPU's `total` bytes, what a process may allocate: its context is beside that."""
    return max(0.0, share - CONTEXT / total)
