"""All names and keys at one moment; looking one up asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster.names import CHAMPION
from cluster.registry import AdapterVersion, Registry
from serve.access.key import Key
from serve.access.keys import Keys
from serve.batching.jobs import AdapterRef
from serve.experiments import ExperimentInfo, Experiments
from serve.experiments.rules import BASE

Mark = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Snapshot:
    """Adapters of every base by `line:number` and `line@alias`, experiments by name, keys by id.

    Stopped experiments and revoked keys are here, too, so that they can be told from unknown ones.
    `mark` is the database's at the time; another one means that something has changed.
    """

    mark: Mark | None = None
    versions: Mapping[str, AdapterVersion] = field(default_factory=dict)
    aliases: Mapping[str, AdapterVersion] = field(default_factory=dict)
    experiments: Mapping[str, ExperimentInfo] = field(default_factory=dict)
    keys: Mapping[str, Key] = field(default_factory=dict)

    def adapter(self, name: str) -> AdapterVersion | None:
        """What `line:3`, `line@alias` or `line` (its champion) names."""
        champion = f"{name}@{CHAMPION}"
        return self.versions.get(name) or self.aliases.get(name) or self.aliases.get(champion)

    def running(self) -> list[ExperimentInfo]:
        """The experiments whose names are models."""
        return [one for one in self.experiments.values() if one.state == "running"]

    def to_keep(self, base: str) -> tuple[AdapterRef, ...]:
        """The adapters of `base` that many requests name: those in experiments, and champions."""
        models = [one.model for each in self.running() for one in each.variants]
        tested = [self.versions[model] for model in models if model != BASE]
        champions = [one for name, one in self.aliases.items() if name.endswith(f"@{CHAMPION}")]
        mine = (ref_of(one) for one in [*tested, *champions] if one.base == base)
        return tuple(dict.fromkeys(mine))


def ref_of(version: AdapterVersion) -> AdapterRef:
    """The version as an engine is asked for it."""
    return AdapterRef(version.adapter_id, version.name)


@dataclass(frozen=True)
class SnapshotSource:
    """Where snapshots come from. Methods block; DatabaseError."""

    registry: Registry
    experiments: Experiments
    keys: Keys

    def read(self, known: Snapshot) -> Snapshot:
        """All of it; `known` itself if nothing has changed since, which is found out cheaply."""
        # The mark comes first: what changes while the rest is read is read again the next time.
        mark = self.registry.mark(), self.experiments.mark(), self.keys.mark()
        if mark == known.mark:
            return known
        experiments = self.experiments.every()
        versions = self.registry.versions()  # after the experiments, which name versions
        return Snapshot(
            mark=mark,
            versions={one.name: one for one in versions},
            aliases={f"{one.line}@{alias}": one for one in versions for alias in one.aliases},
            experiments={one.name: one for one in experiments},
            keys={one.id: one for one in self.keys.every()},
        )
