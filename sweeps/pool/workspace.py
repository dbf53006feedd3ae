"""A trial's folder: its checkpoints and what was measured at each, kept so that they survive."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Collection, Iterable
from pathlib import Path

from cluster.errors import StorageError
from cluster.settings import Settings
from cluster.storage import Storage
from sweeps.pool.stage_job import TrialProtocol, trial_key

_LOG = "milestones.json"

_log = logging.getLogger(__name__)


class Workspace:
    """Where one trial works, and what outlives its worker.

    Local storage is seen by every machine, so the trial works right below its root. For object
    storage it works below `home`, and the folder is uploaded after each checkpoint and milestone,
    in place of what was uploaded before.
    """

    def __init__(self, settings: Settings, study: str, number: int) -> None:
        """Find the trial's folder, fetched from storage if it is there, or make it."""
        self._storage = Storage(settings)
        self._key = trial_key(study, number, "checkpoints")
        self._published = trial_key(study, number, "published")
        self._remote = _is_remote(settings)
        self.folder = _folder(settings, self._key)
        if self._remote and self._storage.exists(self._key):
            self._fetch(settings)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _fetch(self, settings: Settings) -> None:
        """The folder as it was last uploaded; what this machine had of it may be older."""
        fresh = self.folder.with_name(f".{self.folder.name}-{uuid.uuid4().hex}")
        try:
            shutil.copytree(self._storage.get_folder(self._key), fresh)
            shutil.rmtree(self.folder, ignore_errors=True)
            fresh.rename(self.folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            _drop_download(settings, self._key)

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

    def keep_checkpoint(self, step: int) -> None:
        """Make the checkpoint of a step between two milestones durable.

        A storage that does not answer ends no trial: the next checkpoint is uploaded again.
        """
        if not self._remote:
            return
        log = self.folder / _LOG
        if not log.exists():  # a key has a file of its own
            log.write_text("{}", encoding="utf-8")
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
        """Free this machine's copy of what lies in object storage: the trial's turn is over."""
        if self._remote:
            shutil.rmtree(self.folder, ignore_errors=True)


def discard_checkpoints(
    settings: Settings, study: str, numbers: Iterable[int], keep: Collection[int] = ()
) -> None:
    """Free the space of trials that nobody will continue, but for those in `keep`.

    What they published stays.
    """
    _discard(settings, study, [one for one in numbers if one not in keep], "checkpoints")


def discard_published(settings: Settings, study: str, numbers: Iterable[int]) -> None:
    """Free the space of adapters that trials published. Those that are registered lie elsewhere."""
    _discard(settings, study, numbers, "published")


def _discard(settings: Settings, study: str, numbers: Iterable[int], part: str) -> None:
    storage = Storage(settings)
    for number in numbers:
        key = trial_key(study, number, part)
        storage.delete(key)
        # A trial that never came to a milestone has a folder here that is no key yet.
        shutil.rmtree(_folder(settings, key), ignore_errors=True)
        if _is_remote(settings):
            _drop_download(settings, key)


def _is_remote(settings: Settings) -> bool:
    return "://" in settings.storage


def _folder(settings: Settings, key: str) -> Path:
    root = settings.home / "work" if _is_remote(settings) else Path(settings.storage)
    return root / key


def _drop_download(settings: Settings, key: str) -> None:
    """Storage keeps what it fetched; a checkpoint is fetched once."""
    shutil.rmtree(settings.home / "cache" / key, ignore_errors=True)
