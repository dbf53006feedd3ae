"""The pool of machines as Ray sees it now: what each has, how it is labelled, if it lives."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Ray names a node's accelerator by a resource `accelerator_type:T4`.
ACCELERATOR = "accelerator_type:"
_HEAD = "node:__internal_head__"
#: Every node has this label, a different value each.
_OWN_LABEL = "ray.io/node-id"


@dataclass(frozen=True)
class Node:
    """One machine, or one of several simulated on a machine.

    `cpus` and `gpus` are what Ray may give away there, taken or not. `accelerator` is Ray's name of
    the GPU's type. `labels` are those that somebody set, such as `ray.io/market-type`.
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
        """Whether it lives, with GPUs of this type (None: any or none) and all of these labels."""
        same = accelerator is None or (self.gpus > 0 and self.accelerator == accelerator)
        return self.alive and same and labels.items() <= self.labels.items()

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "labels": dict(self.labels)}


def read_pool() -> tuple[Node, ...]:
    """The living nodes of the Ray that this process is connected to, the head first."""
    import ray

    nodes = [node_of(raw) for raw in ray.nodes()]
    return tuple(sorted((one for one in nodes if one.alive), key=lambda one: not one.head))


def node_of(raw: Mapping[str, Any]) -> Node:
    """A node as `ray.nodes()` describes it; a dead one has no resources there."""
    found: Mapping[str, float] = raw.get("Resources") or {}
    types = [name.removeprefix(ACCELERATOR) for name in found if name.startswith(ACCELERATOR)]
    labels = raw.get("Labels") or {}
    return Node(
        id=raw["NodeID"],
        host=raw.get("NodeManagerHostname", ""),
        address=raw.get("NodeManagerAddress", ""),
        cpus=found.get("CPU", 0.0),
        gpus=found.get("GPU", 0.0),
        accelerator=min(types, default=None),
        labels={name: value for name, value in labels.items() if name != _OWN_LABEL},
        alive=bool(raw["Alive"]),
        head=_HEAD in found,
    )


def accelerator_named(name: str, nodes: Iterable[Node]) -> str:
    """Ray's own spelling of an accelerator's type, in any case; ValueError with what is near."""
    from ray.util.accelerators import accelerators

    known = {value for key, value in vars(accelerators).items() if key.isupper()}
    known |= {one.accelerator for one in nodes if one.accelerator}
    spelled = {value.lower(): value for value in known if isinstance(value, str)}
    if name.lower() not in spelled:
        near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
        hint = f"did you mean '{spelled[near[0]]}'? " if near else ""
        usual = "T4, L4, A10G, V100, A100, H100"
        raise ValueError(f"unknown accelerator '{name}'; {hint}Ray's names are such as {usual}")
    return spelled[name.lower()]


def summary(nodes: Iterable[Node]) -> str:
    """What there is, in a few words: `2 nodes: 8 CPUs, 2 T4`."""
    alive = [one for one in nodes if one.alive]
    parts = [f"{sum(one.cpus for one in alive):g} CPUs"]
    gpus: dict[str, float] = {}
    for one in alive:
        if one.gpus:
            name = one.accelerator or "GPU of unknown type"
            gpus[name] = gpus.get(name, 0) + one.gpus
    parts += [f"{count:g} {name}" for name, count in sorted(gpus.items())] or ["no GPU"]
    return f"{len(alive)} node{'s' * (len(alive) != 1)}: {', '.join(parts)}"
