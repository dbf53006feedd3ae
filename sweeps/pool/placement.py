"""Where trials run: the resources that each claims, and how many of them the pool holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from align.recipe import Recipe
from cluster.gpu_checks import hint
from cluster.pool import ACCELERATOR, Node, accelerator_named, node_of, read_pool, summary
from cluster.settings import Settings
from sweeps.errors import SweepError
from sweeps.pool.gpu_sharing import gpu_shares

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory

#: A node of `cluster.pool`, or an entry of `ray.nodes()`.
AnyNode = Node | Mapping[str, Any]

#: Amount claimed of a node's resource `accelerator_type:…`, of which it has 1; Ray's own option
#: `accelerator_type` claims the same.
_TRACE = 0.001


@dataclass(frozen=True)
class Placement:
    """The resources that one trial of each stage claims, and on which nodes trials may run.

    `gpus` is the share of one GPU by stage; empty if trials need none. `labels` are required of
    nodes. If the pool may `grow`, `max_concurrent` trials are handed out even without room for all,
    so that an autoscaler sees them waiting. `notes` are shown to the user.
    """

    cpus: int = 1
    gpus: Mapping[str, float] = field(default_factory=dict)
    accelerator: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    max_concurrent: int | None = None
    grow: bool = False
    notes: tuple[str, ...] = ()

    def bundle(self, stage: str) -> dict[str, float]:
        """One trial's resources by Ray's names."""
        resources: dict[str, float] = {"CPU": self.cpus}
        if share := self.gpus.get(stage, 0.0):
            resources["GPU"] = share
        if self.accelerator is not None:
            resources[f"{ACCELERATOR}{self.accelerator}"] = _TRACE
        return resources

    def resources(self, stage: str) -> PlacementGroupFactory:
        """One trial's resources for Ray Tune. Labels are passed as an argument of the group."""
        from ray.tune import PlacementGroupFactory

        selector = {"bundle_label_selector": [dict(self.labels)]} if self.labels else {}
        return PlacementGroupFactory([self.bundle(stage)], "PACK", **selector)

    def suits(self, node: AnyNode) -> bool:
        """Whether trials may run on the node."""
        node = _node(node)
        return node.has(self.accelerator, self.labels) and (not self.gpus or node.gpus > 0)

    def holds(self, stage: str, node: AnyNode) -> int:
        """Trials of the stage that the node has room for if it runs nothing else."""
        node = _node(node)
        if not self.suits(node):
            return 0
        room = int(node.cpus // self.cpus)
        if share := self.gpus.get(stage, 0.0):
            room = min(room, int(node.gpus) * int(1 / share + 1e-6))
        return room

    def slots(self, stage: str, nodes: Iterable[AnyNode]) -> int:
        """Trials of the stage that `nodes` hold at a time, at most `max_concurrent`."""
        if self.grow and self.max_concurrent:
            return self.max_concurrent
        room = sum(self.holds(stage, node) for node in nodes)
        return room if self.max_concurrent is None else min(room, self.max_concurrent)


def make_placement(
    settings: Settings,
    recipe: Recipe,
    stages: Sequence[str],
    cpus_per_trial: int = 1,
    accelerator: str | None = None,
    labels: Mapping[str, str] | None = None,
    max_concurrent: int | None = None,
    grow: bool = False,
) -> Placement:
    """The placement of the trials of `stages` on the Ray that this process is connected to.

    On GPUs if suitable nodes have some, else on CPUs. A note names the check of GPUs if it has
    never passed on one of their types. SweepError if no node is suitable, a trial needs more CPUs
    than a node has, or a stage does not fit the GPU.
    """
    nodes = read_pool()
    placement = place(
        recipe,
        stages,
        nodes,
        cpus_per_trial,
        accelerator,
        labels or {},
        max_concurrent,
        grow,
        local=settings.ray_address is None,
    )
    types = {node.accelerator for node in nodes if placement.gpus and placement.suits(node)}
    advice = [hint(settings, name) for name in sorted(types, key=str)]
    return replace(placement, notes=(*placement.notes, *filter(None, advice)))


def place(
    recipe: Recipe,
    stages: Sequence[str],
    nodes: Sequence[Node],
    cpus_per_trial: int = 1,
    accelerator: str | None = None,
    labels: Mapping[str, str] | None = None,
    max_concurrent: int | None = None,
    grow: bool = False,
    *,
    local: bool = True,
) -> Placement:
    """The decision of `make_placement` on given nodes; `local` is whether this is a local Ray.

    `local` only affects the advice in errors.
    """
    if grow and max_concurrent is None:
        raise SweepError("how far may the pool grow? give --max-concurrent with --grow")
    placement = Placement(
        cpus_per_trial, {}, _named(accelerator, nodes), labels or {}, max_concurrent, grow
    )
    suitable = [node for node in nodes if placement.suits(node)]
    if not suitable and not grow:
        raise SweepError(_nowhere(placement, nodes, local))
    on_gpus = [node for node in suitable if node.gpus]
    if suitable:
        largest = max(int(node.cpus) for node in on_gpus or suitable)
        if largest < cpus_per_trial:
            raise SweepError(
                f"a trial needs {cpus_per_trial} CPUs and Ray has {largest} "
                f"{'on its largest node' if len(nodes) > 1 else 'here'}; lower --cpus-per-trial"
            )
    if not on_gpus and placement.accelerator is None:
        return placement
    shares, notes = gpu_shares(recipe, stages, on_gpus, placement.accelerator, cpus_per_trial)
    return Placement(
        placement.cpus, shares, placement.accelerator, placement.labels, max_concurrent, grow, notes
    )


def _node(node: AnyNode) -> Node:
    return node if isinstance(node, Node) else node_of(node)


def _named(accelerator: str | None, nodes: Sequence[Node]) -> str | None:
    if accelerator is None:
        return None
    try:
        return accelerator_named(accelerator, nodes)
    except ValueError as error:
        raise SweepError(f"--accelerator: {error}") from None


def _nowhere(placement: Placement, nodes: Sequence[Node], local: bool) -> str:
    """The error message: the requirements, the nodes in the pool, and what to do."""
    requirements = [placement.accelerator] if placement.accelerator else []
    requirements += [f"{name}={value}" for name, value in placement.labels.items()]
    available = f"the pool has {summary(nodes)}"
    if placement.labels:
        node_labels = sorted({
            f"{name}={node.labels[name]}"
            for node in nodes
            for name in placement.labels
            if name in node.labels
        })  # fmt: skip
        available += f"; labels like these: {', '.join(node_labels) or 'none'}"
    advice = (
        "set ALIGNERY_RAY_ADDRESS to a cluster that has some"
        if local
        else "add such nodes, or give --grow with --max-concurrent where an autoscaler adds them"
    )
    return (
        f"no node with {' and '.join(requirements)}: {available}. Take what is there, or {advice}"
    )
