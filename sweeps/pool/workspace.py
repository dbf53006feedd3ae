"""A trial's folder: its checkpoints and what was measured at each, kept so that they survive."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

from cluster.settings import Settings
from cluster.storage import Storage
from sweeps.pool.job import Trial, trial_key

_LOG = "milestones.json"


class Workspace:
    """Where one trial works, and what outlives its worker.

    Local storage is seen by every machine, so the trial works right below its root. For object
    storage it works below `home`, and the folder is uploaded after each milestone.
    """

    def __init__(self, settings: Settings, study: str, number: int) -> None:
        """Find the trial's folder, fetched from storage if it is there, or make it."""
        self._storage = Storage(settings)
        self._key = trial_key(study, number, "checkpoints")
        self._published = trial_key(study, number, "published")
        self._remote = "://" in settings.storage
        root = settings.home / "work" if self._remote else Path(settings.storage)
        self.folder = root / self._key
        if self._remote and self._storage.exists(self._key):
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.copytree(self._storage.get_folder(self._key), self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def measured(self) -> dict[int, dict[str, float]]:
        """Metrics by optimizer step of the milestones that were reached."""
        try:
            log = json.loads((self.folder / _LOG).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return {int(step): metrics for step, metrics in log.items()}

    def keep(self, step: int, metrics: dict[str, float]) -> None:
        """Note a milestone, and make its checkpoint durable."""
        log = self.folder / _LOG
        fresh = log.with_name(f".{_LOG}.{uuid.uuid4().hex}")  # an orphan worker may write too
        fresh.write_text(json.dumps({**self.measured(), step: metrics}), encoding="utf-8")
        fresh.replace(log)
        if self._remote:
            self._storage.put_folder(self.folder, self._key)

    def publish(self, trial: Trial, metrics: dict[str, float]) -> None:
        """Store the trial's adapter with its last metrics, unless an earlier attempt did."""
        if self._storage.exists(self._published):
            return
        target = self.folder / f".published-{uuid.uuid4().hex}"
        try:
            trial.publish(target, metrics)
            self._storage.put_folder(target, self._published)
        finally:
            shutil.rmtree(target, ignore_errors=True)


def discard_checkpoints(settings: Settings, study: str, numbers: list[int]) -> None:
    """Free the space of trials that nobody will continue; what they published stays."""
    storage = Storage(settings)
    for number in numbers:
        key = trial_key(study, number, "checkpoints")
        storage.delete(key)
        shutil.rmtree(settings.home / "work" / key, ignore_errors=True)
