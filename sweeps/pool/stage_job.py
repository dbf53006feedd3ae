"""The job that all trials of a sweep share, sent from the driver to its workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from align.adapters import Manifest
from align.recipe import Recipe
from align.space.spaces import Value
from cluster.names import adapter_key
from cluster.settings import Settings
from cluster.storage import Storage
from sweeps.pool.shipping import localise

#: The default factory of trials in a worker: `module:attribute`.
TRIAL = "align.training.trial:Trial"
#: The function that measures finalists. Another factory needs such a function in its own module.
UNSEEN = "align.training.test_evaluation:measure_unseen"
#: Name of the file with a finalist's metrics, beside its rows.
METRICS = "metrics.json"


class TrialProtocol(Protocol):
    """A trial as a worker drives it; `align.training.trial.Trial` describes the members."""

    @property
    def milestones(self) -> tuple[int, ...]: ...
    @property
    def step(self) -> int: ...
    def advance(self, to: int) -> dict[str, float]: ...
    def rung_values(self) -> dict[str, float]: ...
    def publish(self, target: Path, metrics: dict[str, float]) -> Manifest: ...


class TrialFactory(Protocol):
    """The callable that a job's `factory` names."""

    def __call__(
        self,
        recipe: Recipe,
        stage: str,
        params: dict[str, Value],
        *,
        parent: Path | None,
        reward_model: Path | None,
        folder: Path,
        on_checkpoint: Callable[[int], None] | None = None,
    ) -> TrialProtocol: ...


class MeasureUnseen(Protocol):
    """The callable that a job's `measure` names; see `training.test_evaluation`."""

    def __call__(
        self,
        recipe: Recipe,
        stage: str,
        params: Mapping[str, Value],
        adapter: Path | None,
        *,
        parent: Path | None,
        reward_model: Path | None,
        target: Path | None = None,
    ) -> dict[str, float]: ...


@dataclass(frozen=True)
class Measurement:
    """A finalist to measure on unseen items: a trial, or `parent` or `base`, which have no number.

    `params` are the trial's, or those of the default: they determine what is measured and how.
    """

    name: str
    number: int | None
    params: dict[str, Value]


class StageJob(BaseModel):
    """One stage to search. Ids are those of registered adapters.

    A trial has `cpus` and the share `gpus` of one GPU; `shelf` names the shared artifact cache.
    """

    settings: dict[str, str | None]
    recipe: Recipe
    stage: str
    study: str
    parent_id: str | None = None
    reward_model_id: str | None = None
    cpus: int = 1
    gpus: float = 0.0
    shelf: str | None = None
    factory: str = TRIAL

    @property
    def measure(self) -> str:
        """The dotted name of the function that measures finalists."""
        module = self.factory.partition(":")[0]
        return UNSEEN if self.factory == TRIAL else f"{module}:{UNSEEN.partition(':')[2]}"

    def storage(self) -> Storage:
        """The artifact storage, opened with the job's settings."""
        return Storage(self.open_settings())

    def open_settings(self) -> Settings:
        """The driver's settings; the environment of a worker may have others."""
        return Settings(**self.settings)


def portable(settings: Settings) -> dict[str, str | None]:
    """Settings as plain data, passwords included: only for workers of this sweep."""
    return settings.model_dump(mode="json")


@dataclass(frozen=True)
class StageInputs:
    """A job's recipe with local files, and the folders of the adapters that its stage builds on."""

    recipe: Recipe
    parent: Path | None
    reward_model: Path | None


def stage_inputs(job: StageJob, storage: Storage) -> StageInputs:
    """Fetch what the job's trials read from storage. StorageError if that fails."""
    return StageInputs(
        localise(job.recipe, storage),
        adapter_folder(storage, job.parent_id),
        adapter_folder(storage, job.reward_model_id),
    )


def adapter_folder(storage: Storage, identity: str | None) -> Path | None:
    """The folder of a registered adapter, by id; None for None."""
    return None if identity is None else storage.get_folder(adapter_key(identity))


def unseen_key(study: str, name: str) -> str:
    """Storage key of a finalist's metrics and rows on unseen items."""
    return f"sweeps/{study}/unseen/{name.replace(' ', '_')}"


def read_unseen(storage: Storage, key: str) -> dict[str, float] | None:
    """Metrics that are stored under `key`; None if there are none."""
    if not storage.exists(key):
        return None
    metrics: dict[str, float] = json.loads(
        (storage.get_folder(key) / METRICS).read_text(encoding="utf-8")
    )
    return metrics


def trial_key(study: str, number: int, part: str) -> str:
    """Storage key of a trial's `checkpoints` or `published` adapter."""
    return f"sweeps/{study}/trial_{number}/{part}"
