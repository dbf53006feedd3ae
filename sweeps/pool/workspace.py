"""A trial's folder: its checkpoints and metrics, stored so that they survive the worker."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Collection, Iterable
from pathlib import Path

from align.atomic_write import atomic_path, write_atomically
from cluster.errors import StorageError
from cluster.settings import Settings
from cluster.storage import Storage
from sweeps.pool.stage_job import TrialProtocol, trial_key

_LOG, _VALUES = "milestones.json", "values.json"
#: Which workspace of this machine opened the folder last.
_OWNER = "workspace.id"

_log = logging.getLogger(__name__)


class Workspace:
    """The folder in which one trial works and which outlives its worker.

    Local storage is visible to every machine, so the folder is below its root. With object storage
    the folder is below `home` and is uploaded after each checkpoint and milestone, replacing the
    earlier upload.
    """

    def __init__(self, settings: Settings, study: str, number: int) -> None:
        """Open the trial's folder, fetched from storage if it is there, or create it."""
        self._storage = Storage(settings)
        self._key = trial_key(study, number, "checkpoints")
        self._published = trial_key(study, number, "published")
        self._remote = _is_remote(settings)
        self.folder = _folder(settings, self._key)
        if self._remote and self._storage.exists(self._key):
            self._fetch(settings)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._identity = uuid.uuid4().hex
        if self._remote:
            write_atomically(self.folder / _OWNER, self._identity)

    def _fetch(self, settings: Settings) -> None:
        """Replace the local folder, which may be older, by the last upload."""
        try:
            with atomic_path(self.folder) as download:
                shutil.copytree(self._storage.get_folder(self._key), download)
                shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            _drop_download(settings, self._key)

    def measured(self) -> dict[int, dict[str, float]]:
        """Metrics of the milestones that were reached, by optimizer step."""
        try:
            log = json.loads((self.folder / _LOG).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return {int(step): metrics for step, metrics in log.items()}

    def values(self, step: int) -> dict[str, float]:
        """The rung metric of each item at a milestone; empty if there are none."""
        return self._values().get(str(step), {})

    def _values(self) -> dict[str, dict[str, float]]:
        try:
            content = json.loads((self.folder / _VALUES).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return dict(content)

    def keep(
        self, step: int, metrics: dict[str, float], values: dict[str, float] | None = None
    ) -> None:
        """Store a milestone's metrics and items' values, and make its checkpoint durable."""
        if values:  # before the metrics, which say that the milestone was measured
            content = {**self._values(), str(step): values}
            write_atomically(self.folder / _VALUES, json.dumps(content))
        # An orphan worker may write too.
        write_atomically(self.folder / _LOG, json.dumps({**self.measured(), step: metrics}))
        if self._remote:
            self._storage.put_folder(self.folder, self._key)

    def keep_checkpoint(self, step: int) -> None:
        """Make the checkpoint of a step between two milestones durable.

        An error of storage does not end the trial: the next checkpoint is uploaded again.
        """
        if not self._remote:
            return
        log = self.folder / _LOG
        if not log.exists():  # a key in storage has a file directly in its folder
            write_atomically(log, "{}")
        try:
            self._storage.put_folder(self.folder, self._key)
        except StorageError as error:
            _log.warning("the checkpoint of step %d was not uploaded: %s", step, error)

    def publish(self, trial: TrialProtocol, metrics: dict[str, float]) -> None:
        """Store the trial's adapter with its last metrics, unless an earlier attempt did."""
        if self._storage.exists(self._published):
            return
        target = self.folder / f".published-{uuid.uuid4().hex}"
        try:
            trial.publish(target, metrics)
            self._storage.put_folder(target, self._published)
        finally:
            shutil.rmtree(target, ignore_errors=True)

    def leave(self) -> None:
        """With object storage, delete this machine's copy: the worker has finished with it.

        A trial that waited at a rung may be open in another worker of this machine: then it stays.
        """
        if self._remote and self._owner() == self._identity:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _owner(self) -> str:
        try:
            return (self.folder / _OWNER).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""


def discard_checkpoints(
    settings: Settings, study: str, numbers: Iterable[int], keep: Collection[int] = ()
) -> None:
    """Delete the checkpoints of the trials `numbers`, except those in `keep`.

    Their published adapters stay.
    """
    _discard(settings, study, [number for number in numbers if number not in keep], "checkpoints")


def discard_published(settings: Settings, study: str, numbers: Iterable[int]) -> None:
    """Delete the adapters that trials published. Registered adapters are stored elsewhere."""
    _discard(settings, study, numbers, "published")


def _discard(settings: Settings, study: str, numbers: Iterable[int], part: str) -> None:
    storage = Storage(settings)
    for number in numbers:
        key = trial_key(study, number, part)
        storage.delete(key)
        # A trial without any milestone has a local folder that is no key in storage yet.
        shutil.rmtree(_folder(settings, key), ignore_errors=True)
        if _is_remote(settings):
            _drop_download(settings, key)


def _is_remote(settings: Settings) -> bool:
    return "://" in settings.storage


def _folder(settings: Settings, key: str) -> Path:
    root = settings.home / "work" if _is_remote(settings) else Path(settings.storage)
    return root / key


def _drop_download(settings: Settings, key: str) -> None:
    """Delete storage's cached download of `key`: a checkpoint is fetched only once."""
    shutil.rmtree(settings.home / "cache" / key, ignore_errors=True)
