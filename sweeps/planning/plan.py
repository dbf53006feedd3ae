"""The plan of a sweep before anything is started: trials, rungs, GPUs, hours, cost."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from align.errors import ModelError
from align.memory.duration import Range, speed_of
from align.memory.fit import fit_stages
from align.memory.machines import Machine
from align.memory.shape import ModelShape, read_shape
from align.recipe import Recipe
from cluster.pool import Node, read_pool
from cluster.settings import Settings
from sweeps.planning.plan_view import PipelinePlan, StagePlan
from sweeps.planning.pruning_estimate import survivors
from sweeps.planning.throughput import WORKER_SECONDS, Pace, find_pace, measured_pace
from sweeps.pool.gpu_sharing import MACHINES
from sweeps.pool.placement import Placement, place

_HOUR = 3600.0


def plan_pipeline(
    settings: Settings,
    recipe: Recipe,
    stages: Sequence[str],
    placement: Placement | None = None,
    price: float | None = None,
    *,
    nodes: Sequence[Node] | None = None,
    accelerator: str | None = None,
    gpus: int = 1,
    cpus_per_trial: int = 1,
    max_concurrent: int | None = None,
) -> PipelinePlan:
    """Plan the search of `stages`, which are in the order of their dependencies.

    The plan is for `placement` on the pool's `nodes` (default: the nodes of the connected Ray).
    Without a placement it is for `gpus` GPUs of type `accelerator`, or for this machine's CPUs if
    `accelerator` is None; it then connects to nothing but the database, if there is a database.
    SweepError if a stage does not fit.
    """
    if placement is None:
        nodes = pretended(accelerator, gpus, cpus_per_trial) if nodes is None else nodes
        placement = place(
            recipe, stages, nodes, cpus_per_trial, accelerator, max_concurrent=max_concurrent
        )
    nodes = read_pool() if nodes is None else nodes
    machine = _machine(placement, nodes)
    shape, notes = _shape(recipe)
    paces = {
        stage: _pace(settings, recipe, stage, machine, shape, placement.cpus) for stage in stages
    }
    if rough := [stage for stage, pace in paces.items() if pace and pace.source == "rough"]:
        notes += [_how_rough(rough, machine, placement.cpus)]
    if unknown := [stage for stage, pace in paces.items() if pace is None]:
        notes += [f"nothing is known of the time of {', '.join(unknown)}: {_why(machine)}"]
    peaks = _peaks(recipe, stages, machine, shape)
    stage_plans = tuple(
        _stage(recipe, stage, placement, nodes, peaks.get(stage), paces[stage]) for stage in stages
    )
    return PipelinePlan(
        recipe=recipe.name,
        machine=machine.name if machine else str(placement.accelerator or "GPU"),
        machines=_machines(placement, nodes, stage_plans),
        cpus=placement.cpus,
        stages=stage_plans,
        price=price,
        notes=(*placement.notes, *notes),
    )


def pretended(accelerator: str | None, gpus: int, cpus_per_trial: int = 1) -> tuple[Node, ...]:
    """`gpus` nodes with a GPU and CPUs for four trials each, or this machine without its GPUs."""
    if accelerator is None:
        return (Node("here", "here", "", len(os.sched_getaffinity(0)), head=True),)
    name = accelerator.upper() if accelerator.upper() in MACHINES else accelerator
    return tuple(
        Node(f"planned-{index}", "planned", "", 4 * cpus_per_trial, 1, name)
        for index in range(gpus)
    )


def _stage(
    recipe: Recipe,
    stage: str,
    placement: Placement,
    nodes: Sequence[Node],
    memory: int | None,
    pace: Pace | None,
) -> StagePlan:
    config = recipe.stages[stage]
    trials = config.sweep.trials if config.space() else 1
    steps, rungs = recipe.steps(stage), tuple(config.sweep.rungs)
    reaching = survivors(config.sweep, trials)
    finalists = min(trials, config.sweep.finalists)
    at_once = max(1, placement.slots(stage, nodes))
    work = hours = None
    if pace is not None:
        work = _work(pace, (*rungs, steps), reaching, trials, finalists)
        full_trial = _whole(pace, rungs, steps)
        hours = _makespan(work, full_trial, min(at_once, trials))
    return StagePlan(
        stage=stage,
        method=config.method,
        needs=tuple(recipe.needs(stage)),
        trials=trials,
        finalists=finalists,
        steps=steps,
        rungs=rungs,
        reaching=None if reaching is None else tuple(reaching),
        memory=memory,
        share=placement.gpus.get(stage, 0.0),
        at_once=at_once,
        hours=None if hours is None else hours * (1 / _HOUR),
        work=None if work is None else work * (1 / _HOUR),
        source=None if pace is None else pace.source,
    )


def _work(
    pace: Pace,
    milestones: Sequence[int],
    reaching: Sequence[float] | None,
    trials: int,
    finalists: int,
) -> Range:
    """Seconds of all trials together.

    Where `reaching` is None, the range is from a single trial beyond the first milestone to all.
    """
    most = [float(trials)] * len(milestones)
    fewest = [float(trials), *[1.0] * (len(milestones) - 1)]
    bounds = (fewest, most) if reaching is None else (reaching, reaching)
    sums = []
    for counts in bounds:
        total, previous = pace.begin * trials, 0
        for count, step in zip(counts, milestones, strict=True):
            last = step == milestones[-1]
            total += (pace.step * (step - previous) + (pace.end if last else pace.rung)) * count
            previous = step
        sums.append(total + pace.end * (finalists + 2 if finalists else 0))
    return Range(sums[0].low, sums[1].high)


def _whole(pace: Pace, rungs: Sequence[int], steps: int) -> Range:
    """Seconds of a trial that is never pruned."""
    return pace.begin + pace.step * steps + pace.rung * len(rungs) + pace.end


def _makespan(work: Range, full_trial: Range, slots: int) -> Range:
    """Seconds until all trials are done: at best spread evenly, at worst with a trial begun last.

    Greedy placement is within a whole trial of an even spread (Graham 1969).
    """
    even = Range(max(work.low / slots, full_trial.low), max(work.high / slots, full_trial.high))
    late = full_trial.high * (1 - 1 / slots)
    return Range(even.low, even.high + late) + WORKER_SECONDS


def _machines(placement: Placement, nodes: Sequence[Node], stages: Sequence[StagePlan]) -> int:
    """Suitable GPUs, or nodes if trials run on CPUs; the number to request if the pool grows."""
    if placement.grow and placement.max_concurrent:
        return max(math.ceil(placement.max_concurrent * (stage.share or 1)) for stage in stages)
    suitable = [node for node in nodes if placement.suits(node)]
    return sum(int(node.gpus) if placement.gpus else 1 for node in suitable)


def _machine(placement: Placement, nodes: Sequence[Node]) -> Machine | None:
    """The machine that a trial runs on; None if the type of its GPU is not known."""
    if not placement.gpus:
        return Machine("CPU", 2**63, "bfloat16", "cpu")
    names = {node.accelerator for node in nodes if placement.suits(node)}
    names |= {placement.accelerator} if placement.accelerator else set()
    machines = [MACHINES[name] for name in names if name in MACHINES]
    return (
        min(machines, key=lambda machine: machine.memory) if len(machines) == len(names) else None
    )


def _shape(recipe: Recipe) -> tuple[ModelShape | None, list[str]]:
    try:
        return read_shape(recipe.base), []
    except ModelError:
        return None, []  # the placement has a note on the error, where it matters


def _pace(
    settings: Settings,
    recipe: Recipe,
    stage: str,
    machine: Machine | None,
    shape: ModelShape | None,
    cores: int,
) -> Pace | None:
    if machine is None:
        return None
    if shape is None:
        return measured_pace(settings, recipe.line(stage), machine)
    return find_pace(settings, recipe, stage, machine, shape, cores)


def _peaks(
    recipe: Recipe, stages: Sequence[str], machine: Machine | None, shape: ModelShape | None
) -> Mapping[str, int]:
    if machine is None or shape is None or machine.device == "cpu":
        return {}
    fits = fit_stages(recipe, list(stages), shape, machine)
    return {fit.stage: fit.worst.peak.total for fit in fits}


def _how_rough(stages: Sequence[str], machine: Machine | None, cores: int) -> str:
    assert machine is not None  # a pace is rough only on a known machine
    speed = speed_of(machine, cores)
    rate = f"{cores} core{'s' * (cores > 1)} with bf16"
    if machine.device == "cuda":
        rate = f"{speed.operations / 1e12:g} tera-operations a second"
    return (
        f"hours of {', '.join(stages)} are rough: operations over {speed.slow:.0%} to "
        f"{speed.fast:.0%} of {rate}; a finished sweep of the same line replaces them by "
        "what it measured"
    )


def _why(machine: Machine | None) -> str:
    return "the GPU's speed is not known" if machine is None else "the base's sizes are not known"
