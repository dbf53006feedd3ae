"""What all trials of a sweep share, as it travels from the driver to its workers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from align.adapter import Manifest
from align.recipe import Recipe
from align.recipe.space import Value
from cluster.settings import Settings
from cluster.storage import Storage

#: What a worker builds a trial with: `module:attribute`.
TRIAL = "align.stages.trial:Trial"


class Trial(Protocol):
    """A trial as a worker drives it; `align.stages.trial.Trial` describes the members."""

    @property
    def milestones(self) -> tuple[int, ...]: ...
    @property
    def step(self) -> int: ...
    def advance(self, to: int) -> dict[str, float]: ...
    def publish(self, target: Path, metrics: dict[str, float]) -> Manifest: ...


class TrialFactory(Protocol):
    """What the dotted name of a job's `factory` stands for."""

    def __call__(
        self,
        recipe: Recipe,
        stage: str,
        params: dict[str, Value],
        *,
        parent: Path | None,
        reward_model: Path | None,
        folder: Path,
    ) -> Trial: ...


class Job(BaseModel):
    """One stage to search. Ids are those of registered adapters."""

    settings: dict[str, str | None]
    recipe: Recipe
    stage: str
    study: str
    parent_id: str | None = None
    reward_model_id: str | None = None
    cpus: int = 1
    factory: str = TRIAL

    def storage(self) -> Storage:
        """The artifacts, wherever this process runs."""
        return Storage(self.open_settings())

    def open_settings(self) -> Settings:
        """The driver's settings; a worker's own environment may have others."""
        return Settings(**self.settings)


def portable(settings: Settings) -> dict[str, str | None]:
    """Settings as plain data, password and all: for our own workers only."""
    return settings.model_dump(mode="json")


def import_dotted(name: str) -> Any:
    """What `module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def adapter_folder(storage: Storage, identity: str | None) -> Path | None:
    """A registered adapter's files, by id."""
    return None if identity is None else storage.get_folder(f"adapters/{identity}")


def trial_key(study: str, number: int, part: str) -> str:
    """Storage key of a trial's `checkpoints` or `published` adapter."""
    return f"sweeps/{study}/trial_{number}/{part}"
