"""The nodes of a Ray cluster: their resources, their labels, and whether they are alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from align.suggestions import did_you_mean

#: Ray names a node's accelerator by a resource `accelerator_type:T4`.
ACCELERATOR = "accelerator_type:"
_HEAD = "node:__internal_head__"
#: Ray's label with the node's id; every node has a different value.
_OWN_LABEL = "ray.io/node-id"


@dataclass(frozen=True)
class Node:
    """A machine, or a node that is simulated on a machine.

    `cpus` and `gpus` are Ray's totals for the node, in use or not. `accelerator` is Ray's name of
    the GPU's type. `labels` are all labels except the node's id, such as `ray.io/market-type`.
    """

    id: str
    host: str
    address: str
    cpus: float
    gpus: float = 0.0
    accelerator: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    alive: bool = True
    head: bool = False

    def has(self, accelerator: str | None, labels: Mapping[str, str]) -> bool:
        """Whether the node is alive, with GPUs of this type (None: any or none) and `labels`."""
        type_matches = accelerator is None or (self.gpus > 0 and self.accelerator == accelerator)
        return self.alive and type_matches and labels.items() <= self.labels.items()

    def plain(self) -> dict[str, Any]:
        """The node as plain JSON data."""
        return {**vars(self), "labels": dict(self.labels)}


def read_pool() -> tuple[Node, ...]:
    """The living nodes of the Ray that this process is connected to, the head first."""
    import ray

    nodes = [node_of(raw) for raw in ray.nodes()]
    return tuple(sorted((node for node in nodes if node.alive), key=lambda node: not node.head))


def node_of(raw: Mapping[str, Any]) -> Node:
    """The node that an entry of `ray.nodes()` describes; a dead node has no resources there."""
    resources: Mapping[str, float] = raw.get("Resources") or {}
    types = [name.removeprefix(ACCELERATOR) for name in resources if name.startswith(ACCELERATOR)]
    labels = raw.get("Labels") or {}
    return Node(
        id=raw["NodeID"],
        host=raw.get("NodeManagerHostname", ""),
        address=raw.get("NodeManagerAddress", ""),
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        accelerator=min(types, default=None),
        labels={name: value for name, value in labels.items() if name != _OWN_LABEL},
        alive=bool(raw["Alive"]),
        head=_HEAD in resources,
    )


def accelerator_named(name: str, nodes: Iterable[Node]) -> str:
    """Ray's spelling of the type `name` in any case; ValueError suggests a similar type."""
    from ray.util.accelerators import accelerators

    known = {value for key, value in vars(accelerators).items() if key.isupper()}
    known |= {node.accelerator for node in nodes if node.accelerator}
    spellings = {value.lower(): value for value in known if isinstance(value, str)}
    if name.lower() not in spellings:
        hint = did_you_mean(name, spellings.values(), cutoff=0.5, ignore_case=True, after=" ")
        examples = "T4, L4, A10G, A100, H100"
        raise ValueError(f"unknown accelerator '{name}'; {hint}Ray's names are such as {examples}")
    return spellings[name.lower()]


def summary(nodes: Iterable[Node]) -> str:
    """The resources of the nodes that are alive, in a few words: `2 nodes: 8 CPUs, 2 T4`."""
    alive = [node for node in nodes if node.alive]
    parts = [f"{sum(node.cpus for node in alive):g} CPUs"]
    gpus: dict[str, float] = {}
    for node in alive:
        if node.gpus:
            name = node.accelerator or "GPU of unknown type"
            gpus[name] = gpus.get(name, 0) + node.gpus
    parts += [f"{count:g} {name}" for name, count in sorted(gpus.items())] or ["no GPU"]
    return f"{len(alive)} node{'s' * (len(alive) != 1)}: {', '.join(parts)}"
