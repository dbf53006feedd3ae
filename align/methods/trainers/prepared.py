"""Tokenised training data, cached on disk by content and shared by all trials."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars
from datasets import enable_progress_bars as enable_bars
from filelock import FileLock

from align.artifact_cache import shelf
from align.atomic_write import atomic_path
from align.digests import tokenizer_digest
from align.lru_cache import Remembered
from align.sources import cache_folder

#: Bounds of the cache; the least recently used entries are removed first.
MOST_ENTRIES = 64
MOST_BYTES = 4 * 2**30
#: Entries that a process keeps open; they are memory-mapped.
_OPEN: Remembered[Dataset] = Remembered(4)

_DIGEST = "digest.json"
_STALE_SECONDS = 24 * 3600


class Prepared:
    """Mixin before a TRL trainer: reads rows that were prepared before from the cache.

    The key of an entry is the SHA-256 of the rows, the tokenizer with its template, the fields of
    the config that TRL's preparation reads (`prepared_by`), and the versions of the packages used.
    Progress bars are switched off.
    """

    trainer_name: str
    prepared_by: tuple[str, ...]

    def _prepare_dataset(
        self, dataset: Dataset, processing_class: Any, args: Any, *rest: Any
    ) -> Dataset:
        """Same signature as TRL's; `rest` differs by trainer and ends with the dataset's name."""

        def make() -> Dataset:
            return super(Prepared, self)._prepare_dataset(  # type: ignore[misc]
                dataset, processing_class, args, *rest
            )

        key = entry_key(dataset, processing_class, self.trainer_name, self.prepared_by, args, rest)
        with no_progress_bars():
            return kept(key, make)


@cache
def prepared(trainer: type[Any], fields: tuple[str, ...]) -> type[Any]:
    """A subclass of a TRL trainer with `Prepared`; `fields` are those that its preparation reads.

    A test compares them with TRL's sources.
    """
    attributes = {"trainer_name": trainer.__name__, "prepared_by": fields}
    return type(f"Prepared{trainer.__name__}", (Prepared, trainer), attributes)


def entry_key(
    dataset: Dataset,
    tokenizer: Any,
    trainer: str,
    fields: Iterable[str],
    args: Any,
    rest: Any = (),
) -> str:
    """SHA-256 of everything that the prepared rows depend on.

    `trainer` is the name of TRL's trainer, and `fields` are those of `args` that it reads.
    """
    digest = hashlib.sha256()
    inputs = {
        "trainer": trainer,
        "fields": {name: str(getattr(args, name)) for name in fields},
        "rest": [str(argument) for argument in rest],
        "tokenizer": tokenizer_digest(tokenizer),
        "features": str(dataset.features),
        # Some templates write the date into the system turn.
        "day": str(date.today()) if "strftime_now" in str(tokenizer.chat_template) else "",
        "versions": [
            version(package) for package in ("trl", "transformers", "tokenizers", "datasets")
        ],
    }
    digest.update(json.dumps(inputs, sort_keys=True).encode())
    for row in dataset:
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()


def kept(key: str, make: Callable[[], Dataset]) -> Dataset:
    """The entry with this key; `make` is called if it is missing or damaged.

    The last few entries stay open in this process. An entry in the shared artifact cache is fetched
    rather than made.
    """
    folder = cache_folder("prepared")
    # A copy shares the table, but not the attributes that a trainer sets.
    return copy.copy(_OPEN.of((str(folder), key), lambda: _open(folder, key, make)))


def _open(folder: Path, key: str, make: Callable[[], Dataset]) -> Dataset:
    locks, entry = folder / ".locks", folder / key
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / key[:2]):
        dataset = _read(entry)
        if dataset is None:
            dataset = _fetched(key, entry) or _made(entry, make)
            _prune(folder, key)
    shelf().offer("prepared", key, entry)
    return dataset


def _fetched(key: str, entry: Path) -> Dataset | None:
    shutil.rmtree(entry, ignore_errors=True)
    return _read(entry) if shelf().fetch("prepared", key, entry) else None


def _made(entry: Path, make: Callable[[], Dataset]) -> Dataset:
    shutil.rmtree(entry, ignore_errors=True)
    dataset = make()
    _write(entry, dataset)
    return _read(entry) or dataset  # memory-mapped, unlike TRL's own


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Switch off the progress bars of `datasets`, which would fill a worker's log."""
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_bars()


def _read(entry: Path) -> Dataset | None:
    """Read an entry; None if it is missing or its files differ from those that were written."""
    try:
        if json.loads((entry / _DIGEST).read_text()) != _digests(entry):
            return None
        dataset = Dataset.load_from_disk(str(entry))
    except (OSError, ValueError, pa.ArrowException):
        return None
    os.utime(entry)
    return dataset


def _write(entry: Path, rows: Dataset) -> None:
    with atomic_path(entry) as partial:
        rows.save_to_disk(str(partial))
        (partial / _DIGEST).write_text(json.dumps(_digests(partial)))


def _digests(entry: Path) -> dict[str, str]:
    """SHA-256 of each file."""
    digests = {}
    for path in sorted(entry.iterdir()):
        if path.name != _DIGEST:
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _prune(folder: Path, newest: str) -> None:
    """Remove entries beyond the bounds. Files that another process has open stay readable."""
    entries = []
    for path in folder.iterdir():
        try:
            used = path.stat().st_mtime
        except FileNotFoundError:
            continue  # another process prunes too
        if path.name.startswith("."):
            if path.name != ".locks" and used < time.time() - _STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
        elif path.name != newest:
            entries.append((used, path))
    total_bytes = _bytes(folder / newest)
    for count, (_, path) in enumerate(sorted(entries, reverse=True), start=2):
        total_bytes += _bytes(path)
        if count > MOST_ENTRIES or total_bytes > MOST_BYTES:
            shutil.rmtree(path, ignore_errors=True)


def _bytes(entry: Path) -> int:
    try:
        return sum(path.stat().st_size for path in entry.iterdir())
    except FileNotFoundError:
        return 0
