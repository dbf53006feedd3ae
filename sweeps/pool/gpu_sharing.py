"""How many trials share a GPU, by predicted memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from align.errors import ModelError
from align.memory.fit import StageFit, fit_stages
from align.memory.machines import GIB, GPUS, Machine
from align.memory.measured import measured
from align.memory.peak import predict
from align.memory.shape import ModelShape, read_shape
from align.recipe import Recipe
from align.recipe.model import is_reference
from cluster.pool import Node
from sweeps.errors import SweepError

#: GPUs of known memory, by Ray's names; for a name that has two sizes, the smaller size.
MACHINES: dict[str, Machine] = {
    **{name: GPUS[name] for name in ("T4", "L4", "A10G", "H100")},
    "A100": GPUS["A100-40"],
    "A100-40G": GPUS["A100-40"],
    "A100-80G": GPUS["A100-80"],
}
#: Ray counts a resource in units of 1/10,000. Coarser shares would let more trials onto a GPU than
#: fit: rounded down to 1/100, the shares of thirteen and of fourteen trials are equal.
_SHARES = 10_000


def gpu_shares(
    recipe: Recipe,
    stages: Sequence[str],
    nodes: Sequence[Node],
    accelerator: str | None = None,
    cpus_per_trial: int = 1,
) -> tuple[dict[str, float], tuple[str, ...]]:
    """The share of a GPU that a trial of each stage claims, and notes for the user.

    `nodes` are the GPU nodes on which trials may run. SweepError if a stage does not fit.
    """
    machine, reason = _machine(accelerator, nodes)
    if machine is None:
        return dict.fromkeys(stages, 1.0), (f"{reason}: one trial a GPU",)
    try:
        shape = read_shape(recipe.base)
    except ModelError as error:
        return dict.fromkeys(stages, 1.0), (f"memory is not predicted, one trial a GPU: {error}",)
    fits = fit_stages(recipe, list(stages), shape, measured(machine))
    notes = list(_uncounted(recipe, stages))
    for fit in fits:
        if not fit.worst.sharing:
            if not _halved(fit, shape):
                raise SweepError(_too_large(fit, "does not fit"))
            notes.append(
                f"{_too_large(fit, 'may not fit')}. Workers halve micro-batches themselves"
            )
    cpu_limit = max((int(node.cpus // cpus_per_trial // node.gpus) for node in nodes), default=None)
    return {fit.stage: _share(max(1, fit.worst.sharing), cpu_limit) for fit in fits}, tuple(notes)


def _share(sharing: int, cpu_limit: int | None) -> float:
    """A trial's share of a GPU that fits `sharing` trials; CPUs allow `cpu_limit` (None: any)."""
    trials = sharing if cpu_limit is None else max(1, min(sharing, cpu_limit))
    return int(_SHARES / trials) / _SHARES


def _machine(accelerator: str | None, nodes: Sequence[Node]) -> tuple[Machine | None, str]:
    """The GPU with the least memory that a trial may run on; else None and why it is unknown."""
    names = {accelerator} if accelerator else {node.accelerator for node in nodes}
    unknown = sorted(str(name) for name in names if name not in MACHINES)
    if unknown:
        listed = ", ".join("of no named type" if name == "None" else name for name in unknown)
        return None, f"the memory of GPUs {listed} is not known"
    return min((MACHINES[str(name)] for name in names), key=lambda machine: machine.memory), ""


def _halved(fit: StageFit, shape: ModelShape) -> bool:
    """Whether the stage fits in the smallest micro-batches, the workers' fallback on OOM."""
    worst = fit.worst
    smallest = worst.work.in_batches_of(worst.work.least, worst.work.checkpointing)
    return worst.machine.holds(predict(smallest, shape, worst.machine).total) > 0


def _too_large(fit: StageFit, verb: str) -> str:
    worst, proposal = fit.worst, fit.proposal
    params = "".join(f", {path} {value}" for path, value in worst.params.items())
    problem = (
        f"stage '{fit.stage}' {verb} a {worst.machine.name}: with {worst.work.length} tokens a "
        f"sequence{params} a trial needs {_gib(worst.peak.total)} of its "
        f"{_gib(worst.machine.memory)} GiB"
    )
    if proposal is None:
        length = worst.work.training_method.length_field
        return (
            f"{problem}, even at micro-batch {worst.work.least} with gradient_checkpointing; lower "
            f"{length} or lora.r, or take a larger card or a smaller base"
        )
    work = proposal.work
    return (
        f"{problem}; it fits with per_device_train_batch_size: {work.rows}, "
        f"gradient_accumulation_steps: {work.steps}, gradient_checkpointing: "
        f"{str(work.checkpointing).lower()} ({_gib(proposal.peak.total)} GiB; the effective batch "
        f"stays {work.batch}); `alignery recipe fit` shows the parts"
    )


def _uncounted(recipe: Recipe, stages: Sequence[str]) -> Iterator[str]:
    for stage in stages:
        config = recipe.stages[stage]
        references = [
            name for name in (config.parent, config.reward_model) if name and is_reference(name)
        ]
        if references:
            yield f"stage '{stage}': the memory of {' and '.join(references)} is not counted"


def _gib(count: int) -> str:
    return f"{count / GIB:.2f}"
