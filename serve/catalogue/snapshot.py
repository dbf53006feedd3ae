"""All names and keys as of a point in time. Lookups are served from memory."""

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

    Stopped experiments and revoked keys are included, to distinguish them from unknown names.
    `mark` is the database's change mark at the time; a different mark means that something changed.
    """

    mark: Mark | None = None
    versions: Mapping[str, AdapterVersion] = field(default_factory=dict)
    aliases: Mapping[str, AdapterVersion] = field(default_factory=dict)
    experiments: Mapping[str, ExperimentInfo] = field(default_factory=dict)
    keys: Mapping[str, Key] = field(default_factory=dict)

    def adapter(self, name: str) -> AdapterVersion | None:
        """The version that `line:3`, `line@alias` or `line` (its champion) names; None if none."""
        champion = f"{name}@{CHAMPION}"
        return self.versions.get(name) or self.aliases.get(name) or self.aliases.get(champion)

    def running(self) -> list[ExperimentInfo]:
        """The experiments whose names are models."""
        return [info for info in self.experiments.values() if info.state == "running"]

    def to_keep(self, base: str) -> tuple[AdapterRef, ...]:
        """The most requested adapters of `base`: those in running experiments, and champions."""
        models = [variant.model for info in self.running() for variant in info.variants]
        tested = [self.versions[model] for model in models if model != BASE]
        champions = [
            version for name, version in self.aliases.items() if name.endswith(f"@{CHAMPION}")
        ]
        refs = (ref_of(version) for version in [*tested, *champions] if version.base == base)
        return tuple(dict.fromkeys(refs))


def ref_of(version: AdapterVersion) -> AdapterRef:
    """The reference by which engines are asked for the version."""
    return AdapterRef(version.adapter_id, version.name)


@dataclass(frozen=True)
class SnapshotSource:
    """Reads snapshots from the database. Methods block and raise DatabaseError."""

    registry: Registry
    experiments: Experiments
    keys: Keys

    def read(self, known: Snapshot) -> Snapshot:
        """A new snapshot; `known` itself if nothing has changed since, which is a cheap check."""
        # The mark is read first, so that changes during the read are read again the next time.
        mark = self.registry.mark(), self.experiments.mark(), self.keys.mark()
        if mark == known.mark:
            return known
        experiments = self.experiments.every()
        versions = self.registry.versions()  # after the experiments, which name versions
        return Snapshot(
            mark=mark,
            versions={version.name: version for version in versions},
            aliases={
                f"{version.line}@{alias}": version
                for version in versions
                for alias in version.aliases
            },
            experiments={info.name: info for info in experiments},
            keys={key.id: key for key in self.keys.every()},
        )
