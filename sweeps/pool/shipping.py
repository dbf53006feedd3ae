"""Moves local files of a recipe to storage, by content, and fetches them on other machines.

A file goes to `datasets/<sha256><suffix>` and the recipe says `alignery://datasets/…`; a reward
function's folder goes to `code/<sha256>`. Content that is already stored is not stored again.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from align.data.readers.file_kinds import SUFFIXES
from align.recipe import DataConfig, Recipe
from align.rewards.base import RewardConfig
from align.rewards.functions import PythonConfig
from cluster.settings import Settings
from cluster.storage import Storage

#: Prefix of a recipe's paths and folders that are in storage.
STORED = "alignery://"
#: Matches such a path, also after reading a recipe file has resolved it against the file's folder.
_STORED = re.compile(r"alignery:/+((?:datasets|code)/[^/]+)$")


def ship_data(settings: Settings, recipe: Recipe, *, code: bool = False) -> Recipe:
    """The recipe with its local data files in storage and, with `code`, its reward functions too.

    Paths of files that are not on this machine stay: workers may have the files. StorageError if
    storage fails.
    """
    storage, changed = Storage(settings), recipe.model_copy(deep=True)
    for data in _data(changed):
        if data.path is not None and (_key(data.path) or Path(data.path).is_file()):
            data.path = STORED + (_key(data.path) or _store_file(storage, Path(data.path)))
    for stage in changed.stages.values() if code else ():
        stage.rewards = {name: _shipped(storage, reward) for name, reward in stage.rewards.items()}
    return changed


def localise(recipe: Recipe, storage: Storage) -> Recipe:
    """The recipe with files fetched from storage and local paths. StorageError if that fails."""
    changed = recipe.model_copy(deep=True)
    for data in _data(changed):
        if (key := _key(data.path)) is not None:
            folder = storage.get_folder(key)
            data.path = str(next(path for path in sorted(folder.iterdir()) if path.is_file()))
    for stage in changed.stages.values():
        stage.rewards = {name: _fetched(storage, reward) for name, reward in stage.rewards.items()}
    return changed


def _data(recipe: Recipe) -> Iterator[DataConfig]:
    blocks = (recipe.data, *(stage.data for stage in recipe.stages.values()))
    return (block for block in blocks if block is not None)


def _key(path: str | None) -> str | None:
    """The storage key of an `alignery://` path; None for other paths."""
    match = None if path is None else _STORED.search(path)
    return None if match is None else match.group(1)


def _store_file(storage: Storage, path: Path) -> str:
    """Store a file by its content and return the key. Its name is kept for use in messages."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    suffix = path.suffix.lower()
    key = f"datasets/{digest}{suffix if suffix in SUFFIXES else ''}"
    if not storage.exists(key):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(path, Path(folder) / path.name)
            storage.put_folder(Path(folder), key)
    return key


def _shipped(storage: Storage, reward: RewardConfig) -> RewardConfig:
    if not isinstance(reward, PythonConfig) or reward.file is None:
        return reward  # built in, already stored, or an importable module
    folder = Path(str(reward.folder))
    files = sorted(_python(folder))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    key = f"code/{digest.hexdigest()}"
    if not storage.exists(key):
        with tempfile.TemporaryDirectory() as temporary:
            for path in files:
                target = Path(temporary) / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            storage.put_folder(Path(temporary), key)
    return reward.model_copy(update={"folder": STORED + key})


def _fetched(storage: Storage, reward: RewardConfig) -> RewardConfig:
    key = _key(reward.folder) if isinstance(reward, PythonConfig) else None
    if key is None:
        return reward
    return reward.model_copy(update={"folder": str(storage.get_folder(key))})


def _python(folder: Path) -> Iterator[Path]:
    """The Python files of a folder and its packages, which a reward function may import."""
    for path in folder.iterdir():
        if path.suffix == ".py":
            yield path
        elif path.is_dir() and (path / "__init__.py").is_file():
            yield from _python(path)
